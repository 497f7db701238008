package gateway

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"time"

	"voiceroom.dev/voiceroom/admission"
	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/token"
)

// associateWait is how long a feedback waits for the pod to see what the client saw.
const associateWait = time.Second

// wish is what somebody who joins asks for.
type wish struct {
	Name   string    `json:"name"`
	Role   room.Role `json:"role"`
	Invite string    `json:"invite"`
}

type joined struct {
	Token     string    `json:"token"`
	Session   string    `json:"session"`
	Member    uint32    `json:"member"`
	Epoch     uint64    `json:"epoch"`
	GroupID   string    `json:"groupID"`
	Role      room.Role `json:"role"`
	ExpiresAt time.Time `json:"expiresAt"`
	RTC       string    `json:"rtc"`
}

func (g *Gateway) join(w http.ResponseWriter, r *http.Request) error {
	who, err := g.identify(r)
	if err != nil {
		return err
	}
	vr, err := g.voiceRoom(r.Context(), r.PathValue("namespace"), r.PathValue("room"))
	if err != nil {
		return err
	}
	return g.joinRoom(w, r, who, vr)
}

// joinGroup joins by the group's ID, which is what members pass on to others
// (CN111343079B, claims 2 and 6).
func (g *Gateway) joinGroup(w http.ResponseWriter, r *http.Request) error {
	who, err := g.identify(r)
	if err != nil {
		return err
	}
	vr, err := g.ofGroup(r.Context(), r.PathValue("group"))
	if err != nil {
		return err
	}
	return g.joinRoom(w, r, who, vr)
}

func (g *Gateway) joinRoom(w http.ResponseWriter, r *http.Request, who caller, vr *v1alpha1.VoiceRoom) error {
	asked, err := readJSON[wish](r)
	if err != nil {
		return err
	}
	began := g.now()
	_, grant, err := g.admit(r, who, vr, asked)
	_, span := g.step(r, "join", grant.Session, began)
	taken(span, err)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, joined{Token: grant.Token, Session: grant.Session, Member: grant.Member, Epoch: grant.Epoch,
		GroupID: grant.GroupID, Role: grant.Role, ExpiresAt: grant.ExpiresAt.UTC(), RTC: rtcPath(vr.Namespace, vr.Name)})
}

// admit takes a place in the room for the caller, and counts how that came out.
func (g *Gateway) admit(r *http.Request, who caller, vr *v1alpha1.VoiceRoom, asked wish) (place, admission.Grant, error) {
	p, grant, err := g.place(r, who, vr, asked)
	g.metrics.joined(err)
	return p, grant, err
}

func (g *Gateway) place(r *http.Request, who caller, vr *v1alpha1.VoiceRoom, asked wish) (place, admission.Grant, error) {
	req, err := g.request(r, who, vr, asked)
	if err != nil {
		return place{}, admission.Grant{}, err
	}
	ctx := r.Context()
	if vr.Status.Phase == v1alpha1.RoomAsleep && !ended(vr) {
		if err := mayWake(vr, req); err != nil {
			return place{}, admission.Grant{}, err
		}
		if err := g.wake(ctx, vr); err != nil {
			return place{}, admission.Grant{}, err
		}
	}
	p, err := g.locate(ctx, vr)
	if err != nil {
		return place{}, admission.Grant{}, err
	}
	grant, err := g.desk.Join(ctx, p.Room, req)
	if errors.Is(err, &admission.Error{Code: room.Frozen}) {
		if err := g.thaw(ctx, p); err != nil {
			return place{}, admission.Grant{}, err
		}
		grant, err = g.desk.Join(ctx, p.Room, req)
	}
	return p, grant, err
}

// request puts together who the caller is and what it asks for.
func (g *Gateway) request(r *http.Request, who caller, vr *v1alpha1.VoiceRoom, asked wish) (admission.Request, error) {
	subject, err := subjectOf(who)
	if err != nil {
		return admission.Request{}, err
	}
	req := admission.Request{Subject: subject, Name: asked.Name, Role: asked.Role, Guest: who.guest(), Origin: origin(r, g.cfg.TrustedProxies)}
	if req.Name == "" {
		req.Name = who.name
	}
	counted := req.Origin
	if who.session != nil { // it was let in before: all of one address come back at once when their pod dies
		counted = subject
	}
	if req.Guest && !g.guestLimit.allow(counted) {
		return req, g.guestLimit.refusal()
	}
	if !knownRole(req.Role) {
		return req, refuse(http.StatusBadRequest, mediaapi.BadRequest, "a role is host, co-host, speaker or audience")
	}
	switch {
	case who.session != nil:
		if who.session.RoomUID != string(vr.UID) {
			return req, tokenRefusal(token.ErrAudience)
		}
		req.Resumes, req.ResumesMember, req.Keys = who.session.Session, who.session.Member, who.session.Proofs()
		req.Role = lower(req.Role, room.Role(who.session.Role))
	case who.ticket != nil:
		if err := forThisRoom(who, vr); err != nil {
			return req, err
		}
		req.Keys = []string{who.ticket.Key}
		if who.ticket.Purpose != token.PurposeGuest { // it was made for this subject and this room
			req.InvitedAt, req.Role = who.ticket.IssuedAt, lower(req.Role, room.Role(who.ticket.Role))
		}
	}
	if asked.Invite == "" {
		return req, nil
	}
	return req, g.invited(&req, asked.Invite, vr)
}

// invited notes that a link asks the request's subject in. One that was made for anybody
// adds nothing to a ticket, which was made for the subject.
func (g *Gateway) invited(req *admission.Request, invite string, vr *v1alpha1.VoiceRoom) error {
	t, err := g.tickets.Ticket(invite)
	switch {
	case err != nil:
		return g.unverified(err)
	case t.Purpose != token.PurposeInvite:
		return refuse(http.StatusBadRequest, mediaapi.BadRequest, "what was sent as an invite is none")
	case t.RoomUID != string(vr.UID):
		return tokenRefusal(token.ErrAudience)
	case t.For != "" && t.For != req.Subject:
		return refuse(http.StatusForbidden, codeInviteOther, "this invitation is for somebody else")
	case !req.InvitedAt.IsZero() && (t.For == "" || !t.IssuedAt.After(req.InvitedAt)):
		return nil
	}
	req.InvitedAt, req.Role = t.IssuedAt, lower(req.Role, room.Role(t.Role))
	if !slices.Contains(req.Keys, t.Key) {
		req.Keys = append(slices.Clone(req.Keys), t.Key)
	}
	req.Invite = &room.Invite{ID: t.ID, Uses: t.Uses, Until: t.ExpiresAt, Named: t.For != ""}
	return nil
}

// ranks of roles, the most powerful first.
var ranks = []room.Role{room.Host, room.CoHost, room.Speaker, room.Audience}

func knownRole(r room.Role) bool { return r == "" || slices.Contains(ranks, r) }

// lower returns the less powerful of an asked role and the one that was offered;
// an empty one does not say.
func lower(asked, offered room.Role) room.Role {
	if asked == "" || offered != "" && slices.Index(ranks, asked) < slices.Index(ranks, offered) {
		return offered
	}
	return asked
}

// mayWake keeps those from waking a room whom it would not let in by what its
// resource says; the pod decides once there is one.
func mayWake(vr *v1alpha1.VoiceRoom, req admission.Request) error {
	s := remembered(vr)
	rec, since := s.Record(req.Subject), s.Settings.InvitesSince
	trusted := moderates(s, req.Subject)
	link := req.Invite != nil && !req.Invite.Named
	switch {
	case rec.Banned:
		return refuse(http.StatusForbidden, room.IsBanned, "you are banned from this room")
	case rec.Kicked != nil && (link || !req.InvitedAt.After(*rec.Kicked)):
		return refuse(http.StatusForbidden, room.IsKicked, "you were removed from this room; a moderator must let you in again")
	case s.Settings.Access == room.Locked && !trusted:
		return refuse(http.StatusForbidden, room.RoomLocked, "the room is locked")
	case s.Settings.Access == room.InviteOnly && !trusted && req.InvitedAt.IsZero():
		return refuse(http.StatusForbidden, room.InviteRequired, "this room needs an invitation")
	case req.Invite != nil && since != nil && !req.InvitedAt.After(*since):
		return refuse(http.StatusForbidden, room.InviteVoid, "this invitation is not valid any more; ask for a new one")
	}
	return nil
}

// outcome is how a client's association came out.
type outcome struct {
	Outcome string `json:"outcome"`
}

type fedBack struct {
	GroupID string   `json:"groupID"`
	Member  uint32   `json:"member,omitempty"`
	Mic     *heldMic `json:"mic"`
}

type heldMic struct {
	Index int `json:"index"`
}

// feedback hears from the client how its association came out (steps 5 and 8).
func (g *Gateway) feedback(w http.ResponseWriter, r *http.Request) error {
	p, session, err := g.ownSession(r)
	if err != nil {
		return err
	}
	if !g.commandRate.allow(p.ID.UID + "/" + session) { // one that does not stand yet is waited for
		return g.commandRate.refusal()
	}
	said, err := readJSON[outcome](r)
	if err != nil {
		return err
	}
	switch said.Outcome {
	case "connected":
		ctx, span := g.step(r, "confirm", session, g.now())
		entered, err := g.confirm(ctx, p, session)
		taken(span, err)
		if err != nil {
			return err
		}
		answer := fedBack{GroupID: p.ID.GroupID, Member: entered.Member}
		if entered.Mic != nil {
			answer.Mic = &heldMic{Index: *entered.Mic}
		}
		return writeJSON(w, http.StatusOK, answer)
	case "failed":
		if err := g.desk.Failed(r.Context(), p.Room, session); err != nil {
			return err
		}
		return writeJSON(w, http.StatusOK, fedBack{GroupID: p.ID.GroupID})
	}
	return refuse(http.StatusBadRequest, mediaapi.BadRequest, "an outcome is connected or failed")
}

// confirm lets a session enter. The client may know that its connection stands a
// moment before the pod does, so a session that is on its way is waited for.
func (g *Gateway) confirm(ctx context.Context, p place, session string) (admission.Entered, error) {
	entered, err := g.desk.Confirm(ctx, p.Room, session)
	switch admission.CodeOf(err) {
	case room.NotAssociated, room.UnknownSession: // unknown is also one that is about to take over a place
	default:
		return entered, err
	}
	waiting, cancel := context.WithTimeout(ctx, associateWait)
	defer cancel()
	stands := errors.New("the connection stands")
	watched := p.pod.Watch(waiting, p.Epoch, 0, func(f mediaapi.Frame) error {
		m := room.Member{}
		switch {
		case f.Snapshot != nil:
			m, _ = f.Snapshot.Session(session)
		case f.Event != nil && f.Event.Type == room.EventMember && f.Event.Member.Session == session:
			m = *f.Event.Member
		}
		if m.Status == room.Associated || m.Status == room.Entered {
			return stands
		}
		return nil
	})
	if !errors.Is(watched, stands) {
		return entered, err
	}
	return g.desk.Confirm(ctx, p.Room, session)
}

func (g *Gateway) leave(w http.ResponseWriter, r *http.Request) error {
	p, session, err := g.ownSession(r)
	if err != nil {
		return err
	}
	return g.end(r.Context(), w, p, session)
}

// end makes a session leave.
func (g *Gateway) end(ctx context.Context, w http.ResponseWriter, p place, session string) error {
	// The client does not wait for it; it should be carried out all the same.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout/2)
	defer cancel()
	err := g.desk.Leave(ctx, p.Room, session)
	switch admission.CodeOf(err) {
	case admission.ChatUnavailable, admission.GroupGone:
		g.cfg.Log.Warn("A member left whose association could not be ended; the operator repairs it",
			"namespace", p.ID.Namespace, "room", p.ID.Name, "error", err)
	case room.RoomClosed:
	default:
		if err != nil {
			return err
		}
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// ownSession returns the session of the path, if the caller holds its room token,
// expired or not.
func (g *Gateway) ownSession(r *http.Request) (place, string, error) {
	p, t, err := g.inRoom(r)
	if err != nil {
		return place{}, "", err
	}
	if session := r.PathValue("session"); t.Session != session {
		return place{}, "", refuse(http.StatusForbidden, codeOtherSession, "the token is of another session")
	}
	return p, t.Session, nil
}

// inRoom returns the room of the path, and the room token of this epoch of it that
// the caller holds, expired or not.
func (g *Gateway) inRoom(r *http.Request) (place, token.Room, error) {
	who, err := g.identify(r)
	if err != nil {
		return place{}, token.Room{}, err
	}
	if who.session == nil {
		return place{}, token.Room{}, refuse(http.StatusUnauthorized, mediaapi.Unauthenticated, "this takes the room token of a session")
	}
	p, err := g.located(r.Context(), r.PathValue("namespace"), r.PathValue("room"))
	if err != nil {
		return place{}, token.Room{}, err
	}
	return p, *who.session, p.match(*who.session, http.StatusGone)
}

func rtcPath(namespace, name string) string {
	return "/rtc/" + url.PathEscape(namespace) + "/" + url.PathEscape(name)
}
