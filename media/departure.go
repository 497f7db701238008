package media

import (
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
)

// moved makes the clients go to the pod that has the room now.
func (k *keeper) moved(r mediaapi.MovedRequest) error {
	if err := k.at(r.Epoch); err != nil {
		return err
	}
	if r.To <= r.Epoch {
		return &room.Error{Code: mediaapi.BadRequest, Detail: "a room moves to a later epoch"}
	}
	return k.do(room.Control, room.Seal{})
}
