package media_test

import (
	"testing"

	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
)

// What is not a move to a later epoch of this very room is refused.
func TestMovedRefusals(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	wantCode(t, p.operator.Moved(t.Context(), mediaapi.MovedRequest{Epoch: 1, To: 2}), mediaapi.NoRoom)
	p.put()
	p.join(owner, voice)
	wantCode(t, p.gateway.Moved(t.Context(), mediaapi.MovedRequest{Epoch: 1, To: 2}), mediaapi.Forbidden)
	wantCode(t, p.operator.Moved(t.Context(), mediaapi.MovedRequest{Epoch: 1, To: 1}), mediaapi.BadRequest)
	wantCode(t, p.operator.Moved(t.Context(), mediaapi.MovedRequest{To: 2}), room.StaleEpoch)
	if phase := p.state().Phase; phase != room.Opened {
		t.Errorf("the room is %s by what was refused", phase)
	}
	if err := p.operator.Moved(t.Context(), mediaapi.MovedRequest{Epoch: 1, To: 2}); err != nil {
		t.Error(err)
	}
	if phase := p.state().Phase; phase != room.Sealed {
		t.Errorf("a room that has moved is %s", phase)
	}
}
