package media

import (
	"bytes"
	"encoding/json"

	"voiceroom.dev/voiceroom/room"
)

// The messages of the data channel; docs/protocol.md describes them.
type (
	welcome struct {
		Type    string `json:"type"`
		Member  uint32 `json:"member"`
		Session string `json:"session"`
		Epoch   uint64 `json:"epoch"`
		Slots   int    `json:"slots"`
	}

	snapshot struct {
		Type  string      `json:"type"`
		State *room.State `json:"state"`
		// Omitted is how many members are left out because the client takes no message
		// of that size: they have no microphone and command nobody.
		Omitted int `json:"omitted,omitempty"`
	}

	eventBatch struct {
		Type   string       `json:"type"`
		Events []room.Event `json:"events"`
	}

	slotsMessage struct {
		Type  string      `json:"type"`
		Slots []slotEntry `json:"slots"`
	}

	slotEntry struct {
		Slot   int    `json:"slot"`
		Member uint32 `json:"member"` // 0: silent, or the mix
		Mix    bool   `json:"mix,omitempty"`
	}

	heartbeat struct {
		Type string `json:"type"`
		Seq  uint64 `json:"seq"` // of the last event that was sent
		// Durable is up to which event the room outlives its pod.
		Durable uint64 `json:"durable"`
	}

	replyMessage struct {
		Type  string     `json:"type"`
		ID    string     `json:"id"`
		OK    bool       `json:"ok,omitempty"`
		Seq   uint64     `json:"seq"` // of the room's last event after the request
		Error *errorPart `json:"error,omitempty"`
	}

	errorPart struct {
		Code   room.Code `json:"code"`
		Detail string    `json:"detail,omitempty"`
	}

	movedMessage struct {
		Type  string `json:"type"`
		Epoch uint64 `json:"epoch"` // that is to be joined
	}

	bye struct {
		Type   string    `json:"type"`
		Code   room.Code `json:"code"`
		Detail string    `json:"detail,omitempty"`
	}
)

// maxRequestID is the longest request id, in bytes.
const maxRequestID = 64

// The requests that are not commands of the room: the connection's own.
const (
	resync  = "resync"
	arrived = "arrived" // a sealed room takes it too
)

// request is what a client asks.
type request struct {
	id      string
	own     string       // resync or arrived; empty: a command
	command room.Command // nil: none, or err says what is wrong with it
	err     error
}

// parseRequest reads a message of a client. It keeps nothing of msg.
func parseRequest(msg []byte) request {
	var m struct {
		ID   string          `json:"id"`
		Type string          `json:"type"`
		Body json.RawMessage `json:"body"`
	}
	if err := json.Unmarshal(msg, &m); err != nil || len(m.ID) > maxRequestID {
		return request{err: &room.Error{Code: room.BadCommand, Detail: "not a request: JSON with id, type and body is expected"}}
	}
	r := request{id: m.ID}
	switch {
	case m.Type == resync, m.Type == arrived:
		r.own = m.Type
	case !room.ClientCommand(m.Type):
		r.err = &room.Error{Code: room.BadCommand, Detail: "clients have no such command"}
	default:
		if bytes.Equal(bytes.TrimSpace(m.Body), []byte("null")) {
			m.Body = nil
		}
		r.command, r.err = room.Decode(m.Type, m.Body)
	}
	return r
}
