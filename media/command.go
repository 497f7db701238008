package media

import (
	"encoding/json"
	"net/http"

	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
)

// command gives a command for the control plane or one of the members, and may wait until
// what it did is durable.
func (a *api) command(h *http.Request, r mediaapi.CommandRequest) (*mediaapi.CommandResult, error) {
	c, err := room.Decode(r.Type, r.Body)
	if err != nil {
		return nil, err
	}
	switch c.(type) {
	case room.Seal, room.ReleaseHeld, room.RevokeKeys:
		if r.As == "" {
			if err := a.authenticate(h, operatorOnly); err != nil {
				return nil, err
			}
		}
	}
	var durability *durability
	result, err := ask(a.keeper, func() (*mediaapi.CommandResult, error) {
		durability = a.keeper.durability // of this epoch
		return a.keeper.command(r, c)
	})
	if err == nil && r.Await && !result.Durable {
		result.Durable = durability.await(h.Context(), a.keeper.ended, result.Seq)
	}
	return result, err
}

func (k *keeper) command(r mediaapi.CommandRequest, c room.Command) (*mediaapi.CommandResult, error) {
	if err := k.at(r.Epoch); err != nil {
		return nil, err
	}
	state := k.room.View()
	m, known := k.concerned(r)
	if err := k.do(room.Actor{Session: r.As}, c); err != nil {
		return nil, err
	}
	result := &mediaapi.CommandResult{Epoch: state.Epoch, Seq: state.Seq, Durable: k.durability.covers(state.Seq), ActivatedAt: state.ActivatedAt}
	if known {
		if now, ok := state.Member(m.ID); ok {
			m = now
		}
		result.Member, result.Mic = &m, micOf(state, m.ID)
	}
	return result, nil
}

// concerned is the member that commands, or whom a command of the control plane names.
func (k *keeper) concerned(r mediaapi.CommandRequest) (room.Member, bool) {
	if r.As != "" {
		return k.room.Session(r.As)
	}
	var named struct { // these names mean the same in every command
		Session string `json:"session"`
		Member  uint32 `json:"member"`
	}
	_ = json.Unmarshal(r.Body, &named) // room.Decode has read it; a command without these names nobody
	if named.Session != "" {
		return k.room.Session(named.Session)
	}
	return k.room.View().Member(named.Member)
}

func micOf(s *room.State, member uint32) *room.Mic {
	if m, ok := s.Mic(member); ok {
		return &m
	}
	return nil
}

// session answers who is connected with a session.
func (a *api) session(h *http.Request, _ none) (*mediaapi.SessionInfo, error) {
	session := h.PathValue("session")
	return a.info(h, func() (room.Member, bool) { return a.keeper.room.Session(session) },
		&room.Error{Code: room.UnknownSession, Detail: "this session has ended or was replaced"})
}

// member answers which member a subject is.
func (a *api) member(h *http.Request, _ none) (*mediaapi.SessionInfo, error) {
	subject := h.FormValue("subject")
	return a.info(h, func() (room.Member, bool) { return a.keeper.room.Subject(subject) },
		&room.Error{Code: room.UnknownMember, Detail: "the room keeps no place for this subject"})
}

// info answers with the member that find finds, on the keeper's goroutine.
func (a *api) info(h *http.Request, find func() (room.Member, bool), otherwise error) (*mediaapi.SessionInfo, error) {
	epoch, err := numberOf(h, "epoch")
	if err != nil {
		return nil, err
	}
	return ask(a.keeper, func() (*mediaapi.SessionInfo, error) {
		if err := a.keeper.atAny(epoch); err != nil {
			return nil, err
		}
		m, ok := find()
		if !ok {
			return nil, otherwise
		}
		s := a.keeper.room.View()
		return &mediaapi.SessionInfo{Epoch: s.Epoch, Seq: s.Seq, Member: m, Mic: micOf(s, m.ID), ActivatedAt: s.ActivatedAt}, nil
	})
}
