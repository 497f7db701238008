package gateway

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"voiceroom.dev/voiceroom/admission"
	"voiceroom.dev/voiceroom/chat"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
)

const (
	historyUnlessSaid = 50
	historyMost       = 100
)

// message is a chat message as clients see it: who wrote it by name, not by subject.
type message struct {
	ID   string    `json:"id"`
	Seq  uint64    `json:"seq"`
	Name string    `json:"name"`
	Text string    `json:"text"`
	Time time.Time `json:"time"`
}

func messageOf(m chat.Message) message {
	return message{ID: m.ID, Seq: m.Seq, Name: m.Name, Text: m.Text, Time: m.Time.UTC()}
}

type messages struct {
	Messages []message `json:"messages"`
}

type newMessage struct {
	Text string `json:"text"`
}

// member returns the member whose session it is, if it has entered. The pod says so, not a
// copy of its state: who was thrown out a moment ago reads and says nothing more.
func (g *Gateway) member(ctx context.Context, p place, session string) (*mediaapi.SessionInfo, error) {
	info, err := p.pod.Session(ctx, p.Epoch, session)
	if err != nil {
		return nil, admission.FromPod("looking for a session", err)
	}
	return info, enteredAs(info.Member)
}

func enteredAs(m room.Member) error {
	if !visible(m) {
		return refuse(http.StatusConflict, room.NotEntered, "you have not entered the room")
	}
	return nil
}

func visible(m room.Member) bool { return m.Status == room.Entered || m.Status == room.Away }

// chatter returns the caller's place in the room, with its chat, and who it is there.
func (g *Gateway) chatter(r *http.Request) (place, room.Member, error) {
	p, t, err := g.inRoom(r)
	if err != nil {
		return place{}, room.Member{}, err
	}
	info, err := g.member(r.Context(), p, t.Session)
	if err != nil {
		return place{}, room.Member{}, err
	}
	if p.Chat == nil {
		return place{}, room.Member{}, chat.ErrUnavailable
	}
	return p, info.Member, nil
}

func (g *Gateway) history(w http.ResponseWriter, r *http.Request) error {
	before, err := number(r, "before", 0, 1<<63)
	if err != nil {
		return err
	}
	limit, err := number(r, "limit", historyUnlessSaid, historyMost)
	if err != nil {
		return err
	}
	p, m, err := g.chatter(r)
	if err != nil {
		return err
	}
	if !g.lookRate.allow(p.ID.UID + "/" + m.Subject) {
		return g.lookRate.refusal()
	}
	said, err := p.Chat.History(r.Context(), p.ID.GroupID, before, int(limit))
	if err != nil {
		return err
	}
	answer := messages{Messages: make([]message, 0, len(said))}
	for _, m := range said {
		answer.Messages = append(answer.Messages, messageOf(m))
	}
	return writeJSON(w, http.StatusOK, answer)
}

// number reads a query parameter; more than most is cut to it.
func number(r *http.Request, name string, unlessSaid, most uint64) (uint64, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return unlessSaid, nil
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		return 0, refuse(http.StatusBadRequest, mediaapi.BadRequest, "%s must be a number", name)
	}
	return min(n, most), nil
}

func (g *Gateway) post(w http.ResponseWriter, r *http.Request) error {
	p, m, err := g.chatter(r)
	if err != nil {
		return err
	}
	if m.ChatMuted {
		return refuse(http.StatusForbidden, codeChatMuted, "a moderator has muted you in the chat")
	}
	if !g.postRate.allow(p.ID.UID + "/" + m.Subject) {
		return g.postRate.refusal()
	}
	said, err := readJSON[newMessage](r)
	if err != nil {
		return err
	}
	posted, err := p.Chat.Post(r.Context(), p.ID.GroupID, chat.Message{Author: m.Subject, Name: m.Name, Text: said.Text})
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusCreated, messageOf(posted))
}
