package gateway

import (
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
)

// Routes are the rows of the API as "METHOD path", for the test that compares them
// with docs/openapi.yaml.
func (g *Gateway) Routes() []string {
	var all []string
	for _, r := range g.routes() {
		all = append(all, r.method+" "+r.path)
	}
	return all
}

// Bodies are what the schemas of docs/openapi.yaml describe.
var Bodies = map[string]any{
	"Problem": mediaapi.Problem{}, "NewGuest": newGuest{}, "Guest": guest{}, "NewRoom": newRoom{}, "Room": summary{}, "RoomMic": summaryMic{},
	"NewInvite": newInvite{}, "Invite": invite{}, "Join": wish{}, "Grant": joined{}, "Feedback": outcome{}, "Entered": fedBack{}, "HeldMic": heldMic{},
	"State": room.State{}, "RoomID": room.ID{}, "Settings": room.Settings{}, "Spec": room.Spec{}, "Member": room.Member{},
	"Hand": room.Hand{}, "Mic": room.Mic{}, "Record": room.Record{}, "InviteUse": room.InviteUse{}, "Commanded": commanded{}, "Removed": removed{}, "RemovedList": removedList{},
	"NewMessage": newMessage{}, "Message": message{}, "Messages": messages{},
}
