package mediaapi

import (
	"slices"
	"testing"

	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/test/docs/documents"
)

// Every code has a status that somebody chose for it, but those that are only reasons.
func TestEveryCodeHasAStatus(t *testing.T) {
	reasons := []room.Code{room.Left, room.Expired, room.Failed, room.Replaced, room.PulledDown, room.TimeUp, room.HandRefused, room.KeyRevoked}
	for _, folder := range []string{"room", "mediaapi"} {
		codes, err := documents.SourceCodes(folder)
		if err != nil || len(codes) < 10 {
			t.Fatalf("%s: %d codes, %v", folder, len(codes), err)
		}
		for _, c := range codes {
			_, chosen := statuses[room.Code(c)]
			if reason := slices.Contains(reasons, room.Code(c)); chosen == reason {
				t.Errorf("%s: has a status: %v, is a reason: %v", c, chosen, reason)
			}
		}
	}
}
