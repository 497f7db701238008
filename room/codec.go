package room

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"reflect"
	"slices"
)

// verb is a command that travels.
type verb struct {
	decode func([]byte) (Command, error)
	client bool // clients may give it
}

// verbs are the commands that travel, by their name on the wire. Commands that only
// the media server itself gives are not among them.
var verbs = map[string]verb{
	"enter": control[Enter](), "fail": control[Fail](), "release-held": control[ReleaseHeld](), "revoke-keys": control[RevokeKeys](), "seal": control[Seal](),

	"leave": client[Leave](), "take-mic": client[TakeMic](), "leave-mic": client[LeaveMic](), "mute": client[Mute](), "hand": client[RaiseHand](),
	"answer-ask": client[AnswerAsk](), "rename": client[Rename](),

	"give-mic": client[GiveMic](), "pull-mic": client[PullMic](), "swap-mics": client[SwapMics](), "lock-mic": client[LockMic](),
	"mute-member": client[MuteMember](), "mute-all": client[MuteAll](), "set-priority": client[SetPriority](),
	"lower-hand": client[LowerHand](), "clear-hands": client[ClearHands](), "hand-priority": client[HandPriority](), "ask-to-speak": client[AskToSpeak](),

	"kick": client[Kick](), "unban": client[Unban](), "chat-mute": client[ChatMute](), "set-role": client[SetRole](), "transfer-host": client[TransferHost](),
	"configure": client[Configure](), "reset-invites": client[ResetInvites](), "close": client[Close](),
}

func control[C Command]() verb { return verb{decode: decode[C]} }
func client[C Command]() verb  { return verb{decode: decode[C], client: true} }

// clientCommands are the types of the commands that clients may give.
var clientCommands = func() map[reflect.Type]bool {
	types := map[reflect.Type]bool{}
	for _, v := range verbs {
		if c, err := v.decode(nil); err == nil {
			types[reflect.TypeOf(c)] = v.client
		}
	}
	return types
}()

// ClientCommand says whether clients may give the command of this name.
func ClientCommand(name string) bool { return verbs[name].client }

// CommandNames are the names that Decode knows, sorted.
func CommandNames() []string { return slices.Sorted(maps.Keys(verbs)) }

// Decode reads a command from the wire. Unknown names, unknown fields and
// malformed bodies are a *Error with BadCommand. An empty body is all defaults.
func Decode(name string, body []byte) (Command, error) {
	v, ok := verbs[name]
	if !ok {
		return nil, refuse(BadCommand, "there is no command %.40q", name)
	}
	c, err := v.decode(body)
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
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one value")
	}
	return c, nil
}
