package media

import (
	"encoding/json"
	"errors"
	"testing"

	"voiceroom.dev/voiceroom/room"
)

// Whatever comes on a data channel is a request that can be answered: a command, one of the connection's own, or a
// refusal with a code.
func FuzzParseRequest(f *testing.F) {
	f.Add([]byte(`{"id":"1","type":"mute","body":{"muted":true}}`))
	f.Fuzz(func(t *testing.T, msg []byte) {
		r := parseRequest(msg)
		said := 0
		for _, is := range []bool{r.own != "", r.command != nil, r.err != nil} {
			if is {
				said++
			}
		}
		if said != 1 || len(r.id) > maxRequestID {
			t.Fatalf("read as %+v", r)
		}
		if refusal := (*room.Error)(nil); r.err != nil && (!errors.As(r.err, &refusal) || refusal.Code == "") {
			t.Errorf("refused without a code: %v", r.err)
		}
		if _, err := json.Marshal(replyMessage{Type: "reply", ID: r.id}); err != nil {
			t.Errorf("its answer: %v", err)
		}
	})
}
