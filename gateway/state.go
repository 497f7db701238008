package gateway

import (
	"net/http"
	"slices"
	"time"

	"voiceroom.dev/voiceroom/admission"
	"voiceroom.dev/voiceroom/room"
)

// getState answers the room as it is now: to its members and its owner as the data
// channel shows it, to back ends with subjects and what is remembered of them.
func (g *Gateway) getState(w http.ResponseWriter, r *http.Request) error {
	a, state, err := g.look(r)
	if err != nil {
		return err
	}
	if a.backEnd {
		return writeJSON(w, http.StatusOK, forBackEnds(state))
	}
	return writeJSON(w, http.StatusOK, state.Public())
}

// look reads the room for a caller who may see some of it.
func (g *Gateway) look(r *http.Request) (actor, *room.State, error) {
	who, err := g.identify(r)
	if err != nil {
		return actor{}, nil, err
	}
	p, err := g.located(r.Context(), r.PathValue("namespace"), r.PathValue("room"))
	if err != nil {
		return actor{}, nil, err
	}
	if err := g.slow(g.lookRate, who, p.vr); err != nil {
		return actor{}, nil, err
	}
	a, err := g.actor(r.Context(), who, p)
	if err != nil {
		return a, nil, err
	}
	state, err := p.pod.Get(r.Context(), p.Epoch)
	if err != nil {
		return a, nil, admission.FromPod("reading the room", err)
	}
	if a.session != "" {
		m, ok := state.Session(a.session)
		if !ok {
			return a, nil, refuse(http.StatusNotFound, room.UnknownSession, "this session has ended or was replaced")
		}
		if err := enteredAs(m); err != nil {
			return a, nil, err
		}
	}
	return a, state, nil
}

// forBackEnds is a state without what would let its reader be somebody.
func forBackEnds(s *room.State) *room.State {
	s = s.Clone()
	for i := range s.Members {
		s.Members[i].Session, s.Members[i].Keys = "", nil
	}
	return s
}

// removed is somebody who may not come in.
type removed struct {
	Member  uint32     `json:"member,omitempty"` // as whom a moderator can unban it; 0: it never was one
	Name    string     `json:"name,omitempty"`
	At      *time.Time `json:"at,omitempty"` // nil: it was banned without having been here
	Banned  bool       `json:"banned"`
	Subject string     `json:"subject,omitempty"` // for back ends only
}

type removedList struct {
	Removed []removed `json:"removed"`
}

// getRemoved tells moderators who was kicked or banned, the latest first.
func (g *Gateway) getRemoved(w http.ResponseWriter, r *http.Request) error {
	a, state, err := g.look(r)
	if err != nil {
		return err
	}
	if m, ok := state.Session(a.session); ok && m.Role != room.Host && m.Role != room.CoHost {
		return notModerator()
	}
	list := removedList{Removed: []removed{}}
	for _, rec := range state.Records {
		if !rec.Banned && rec.Kicked == nil {
			continue
		}
		out := removed{Member: rec.Member, Name: rec.Name, At: rec.Kicked, Banned: rec.Banned}
		if a.backEnd {
			out.Subject = rec.Subject
		}
		list.Removed = append(list.Removed, out)
	}
	slices.SortStableFunc(list.Removed, func(a, b removed) int { return b.when().Compare(a.when()) })
	return writeJSON(w, http.StatusOK, list)
}

func (r removed) when() time.Time {
	if r.At == nil {
		return time.Time{}
	}
	return *r.At
}
