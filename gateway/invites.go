package gateway

import (
	"net/http"
	"slices"
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
)

type newInvite struct {
	Role      room.Role `json:"role"`
	ExpiresIn int64     `json:"expiresIn"` // seconds; 0: a day
}

type invite struct {
	Invite    string    `json:"invite"`
	URL       string    `json:"url"`
	ExpiresAt time.Time `json:"expiresAt"`
}

func (g *Gateway) createInvite(w http.ResponseWriter, r *http.Request) error {
	who, err := g.identify(r)
	if err != nil {
		return err
	}
	vr, err := g.voiceRoom(r.Context(), r.PathValue("namespace"), r.PathValue("room"))
	if err != nil {
		return err
	}
	if ended(vr) {
		return refuse(http.StatusGone, room.RoomClosed, "the room has ended")
	}
	if err := g.mayInvite(r, who, vr); err != nil {
		return err
	}
	asked, err := readJSON[newInvite](r)
	if err != nil {
		return err
	}
	ttl := time.Duration(asked.ExpiresIn) * time.Second
	if asked.ExpiresIn == 0 {
		ttl = inviteTTL
	}
	switch {
	case asked.Role != "" && asked.Role != room.Speaker && asked.Role != room.Audience:
		return refuse(http.StatusBadRequest, mediaapi.BadRequest, "an invite's role is speaker or audience")
	case asked.ExpiresIn < 0 || asked.ExpiresIn > int64(inviteMax/time.Second):
		return refuse(http.StatusBadRequest, mediaapi.BadRequest, "expiresIn is at most %d seconds", int64(inviteMax/time.Second))
	}
	made := invite{ExpiresAt: g.now().Add(ttl).UTC()}
	made.Invite, err = g.minter.Ticket(token.Ticket{Purpose: token.PurposeInvite, Room: vr.Namespace + "/" + vr.Name, RoomUID: string(vr.UID),
		Role: string(asked.Role), ExpiresAt: made.ExpiresAt})
	if err != nil {
		return keysNotReady(err)
	}
	made.URL = g.roomURL(r, vr) + "#invite=" + made.Invite
	return writeJSON(w, http.StatusCreated, made)
}

// mayInvite lets those invite who moderate the room: by what its resource says, or,
// with a room token, by the role that the session has now.
func (g *Gateway) mayInvite(r *http.Request, who caller, vr *v1alpha1.VoiceRoom) error {
	if who.session != nil {
		p, err := g.locate(r.Context(), vr)
		if err != nil {
			return err
		}
		if err := p.match(*who.session, http.StatusGone); err != nil {
			return err
		}
		m, err := g.member(r.Context(), p, who.session.Session)
		if err != nil {
			return err
		}
		if m.Role != room.Host && m.Role != room.CoHost {
			return refuse(http.StatusForbidden, room.NotAllowed, "hosts and co-hosts invite")
		}
		return nil
	}
	if err := forThisRoom(who, vr); err != nil {
		return err
	}
	if who.key == "" && who.subject != vr.Spec.Owner && !slices.Contains(vr.Spec.Moderators, who.subject) {
		return refuse(http.StatusForbidden, room.NotAllowed, "hosts and co-hosts invite")
	}
	return nil
}
