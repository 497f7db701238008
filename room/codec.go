package room

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// decoders of the commands that travel, by their name on the wire. Commands that
// only the media server itself gives are not among them.
var decoders = map[string]func([]byte) (Command, error){
	"enter":        decode[Enter],
	"fail":         decode[Fail],
	"leave":        decode[Leave],
	"take-mic":     decode[TakeMic],
	"leave-mic":    decode[LeaveMic],
	"mute":         decode[Mute],
	"hand":         decode[Hand],
	"rename":       decode[Rename],
	"give-mic":     decode[GiveMic],
	"pull-mic":     decode[PullMic],
	"mute-member":  decode[MuteMember],
	"lower-hand":   decode[LowerHand],
	"kick":         decode[Kick],
	"unban":        decode[Unban],
	"set-access":   decode[SetAccess],
	"close":        decode[Close],
	"release-held": decode[ReleaseHeld],
	"seal":         decode[Seal],
}

// CommandNames are the names that Decode knows, sorted.
func CommandNames() []string { return slices.Sorted(maps.Keys(decoders)) }

// Decode reads a command from the wire. Unknown names, unknown fields and
// malformed bodies are a *Error with BadCommand. An empty body is all defaults.
func Decode(name string, body []byte) (Command, error) {
	d, ok := decoders[name]
	if !ok {
		return nil, refuse(BadCommand, "there is no command %.40q", name)
	}
	c, err := d(body)
	if err != nil {
		return nil, refuse(BadCommand, "command %s: %.200s", name, err)
	}
	return c, nil
}

func decode[C Command](body []byte) (Command, error) {
	var c C
	if len(bytes.TrimSpace(body)) == 0 {
		return c, nil
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return nil, err
	}
	if d.More() {
		return nil, fmt.Errorf("more than one value")
	}
	return c, nil
}
