package gateway

import (
	"net/http"
	"time"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/token"
)

const (
	inviteTTL = 24 * time.Hour // unless said
	// inviteMax is no longer than a retired key is verified (token.DefaultRotation).
	inviteMax = 30 * 24 * time.Hour
	// inviteUses is the most that can be counted; it is the largest room.
	inviteUses = 10_000
	maxSubject = 256 // bytes, as in a VoiceRoom
)

type newInvite struct {
	Role      room.Role `json:"role"`
	Uses      int       `json:"uses"`      // how many it lets in; 0: no limit
	ExpiresIn int64     `json:"expiresIn"` // seconds; 0: a day
	// Subject is whom it is for: it lets nobody else in, and this one even if it was
	// kicked before. Empty: whoever has the link.
	Subject string `json:"subject"`
}

func (n newInvite) check() error {
	bad := func(format string, args ...any) error {
		return refuse(http.StatusBadRequest, mediaapi.BadRequest, format, args...)
	}
	switch {
	case n.Role != "" && n.Role != room.Speaker && n.Role != room.Audience:
		return bad("an invite's role is speaker or audience")
	case n.ExpiresIn < 0 || n.ExpiresIn > int64(inviteMax/time.Second):
		return bad("expiresIn is at most %d seconds", int64(inviteMax/time.Second))
	case n.Uses < 0 || n.Uses > inviteUses:
		return bad("uses is 0, for no limit, to %d", inviteUses)
	case len(n.Subject) > maxSubject:
		return bad("a subject is at most %d bytes", maxSubject)
	}
	return nil
}

func (n newInvite) ttl() time.Duration {
	if n.ExpiresIn == 0 {
		return inviteTTL
	}
	return time.Duration(n.ExpiresIn) * time.Second
}

type invite struct {
	Invite    string    `json:"invite"`
	URL       string    `json:"url"`
	ExpiresAt time.Time `json:"expiresAt"`
}

// createInvite makes a link. Nothing is written down: the room learns of a link when
// somebody comes by it, and forgets it when it has expired.
func (g *Gateway) createInvite(w http.ResponseWriter, r *http.Request) error {
	vr, _, _, err := g.inviter(r)
	if err != nil {
		return err
	}
	asked, err := readJSON[newInvite](r)
	if err != nil {
		return err
	}
	if err := asked.check(); err != nil {
		return err
	}
	made := invite{ExpiresAt: g.now().Add(asked.ttl()).UTC()}
	made.Invite, err = g.minter.Ticket(token.Ticket{Purpose: token.PurposeInvite, Room: vr.Namespace + "/" + vr.Name, RoomUID: string(vr.UID),
		Role: string(asked.Role), Uses: asked.Uses, For: asked.Subject, ExpiresAt: made.ExpiresAt})
	if err != nil {
		return keysNotReady(err)
	}
	made.URL = g.roomURL(r, vr) + "#invite=" + made.Invite
	return writeJSON(w, http.StatusCreated, made)
}

// resetInvites makes every link useless that exists now.
func (g *Gateway) resetInvites(w http.ResponseWriter, r *http.Request) error {
	vr, a, p, err := g.inviter(r)
	if err != nil {
		return err
	}
	if p == nil {
		_, err := g.locate(r.Context(), vr) // says why there is none
		return err
	}
	return g.give(w, r, *p, a, room.ResetInvites{})
}

// inviter is the caller, who moderates the room of the path.
func (g *Gateway) inviter(r *http.Request) (*v1alpha1.VoiceRoom, actor, *place, error) {
	who, err := g.identify(r)
	if err != nil {
		return nil, actor{}, nil, err
	}
	vr, err := g.voiceRoom(r.Context(), r.PathValue("namespace"), r.PathValue("room"))
	if err != nil {
		return nil, actor{}, nil, err
	}
	a, p, err := g.moderator(r.Context(), who, vr)
	return vr, a, p, err
}
