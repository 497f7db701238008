package gateway

import "voiceroom.dev/voiceroom/mediaapi"

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
	"Commanded": commanded{}, "Removed": removed{}, "RemovedList": removedList{},
	"NewMessage": newMessage{}, "Message": message{}, "Messages": messages{},
}
