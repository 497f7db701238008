package gateway

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"voiceroom.dev/voiceroom/admission"
	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/token"
)

// actor is who acts on a room: a member by its session, or somebody from outside whom
// we authorised, for whom we are the room's control plane.
type actor struct {
	session string // empty: from outside
	subject string // empty: a back end that speaks for nobody
	backEnd bool   // it showed an API key: subjects are no secret to it
}

// acting is as whom the caller acts on a room, if it may. It is slowed down before the
// pod is asked whether it may.
func (g *Gateway) acting(who caller, vr *v1alpha1.VoiceRoom) (actor, error) {
	a := actor{subject: who.subject, backEnd: who.key != ""}
	if who.session != nil {
		a.session = who.session.Session
	}
	if err := forThisRoom(who, vr); err != nil {
		return a, err
	}
	return a, g.slow(g.commandRate, who, vr)
}

// slow bounds what a session, or somebody from outside, can ask of a room's pod. Back
// ends know what they do.
func (g *Gateway) slow(rate *limiter, who caller, vr *v1alpha1.VoiceRoom) error {
	key := string(vr.UID) + "/" + who.subject
	if who.session != nil {
		key += "/" + who.session.Session
	}
	if who.key != "" || rate.allow(key) {
		return nil
	}
	return rate.refusal()
}

// actor says as whom the caller acts on the room: with a room token as its session, with
// an API key as a back end, else as the owner. Others are refused.
func (g *Gateway) actor(ctx context.Context, who caller, p place) (actor, error) {
	a, err := g.acting(who, p.vr)
	switch {
	case err != nil:
		return a, err
	case who.session != nil:
		return a, p.match(*who.session, http.StatusGone)
	case a.backEnd:
		return a, nil
	}
	if who.subject == p.vr.Spec.Owner {
		state, err := p.pod.Get(ctx, p.Epoch)
		if err != nil {
			return a, admission.FromPod("reading the room", err)
		}
		if moderates(state, who.subject) {
			return a, nil
		}
	}
	return a, refuse(http.StatusForbidden, room.NotAllowed, "this takes the room token of a session, the room's owner, or an API key")
}

// moderator is actor for what whoever moderates the room may do, in the room or not. place
// is nil while the room has no pod, which is refused only for a session.
func (g *Gateway) moderator(ctx context.Context, who caller, vr *v1alpha1.VoiceRoom) (actor, *place, error) {
	a, err := g.acting(who, vr)
	if err != nil {
		return a, nil, err
	}
	state := remembered(vr)
	p, err := g.locate(ctx, vr)
	at := &p
	switch {
	case err != nil && (who.session != nil || !podless(err)):
		return a, nil, err
	case err != nil:
		at = nil
	case who.session != nil:
		return a, at, g.sessionModerates(ctx, p, *who.session)
	}
	if a.backEnd {
		return a, at, nil
	}
	if at != nil {
		if state, err = p.pod.Get(ctx, p.Epoch); err != nil {
			return a, nil, admission.FromPod("reading the room", err)
		}
	}
	if !moderates(state, who.subject) {
		return a, nil, notModerator()
	}
	return a, at, nil
}

func (g *Gateway) sessionModerates(ctx context.Context, p place, t token.Room) error {
	if err := p.match(t, http.StatusGone); err != nil {
		return err
	}
	info, err := g.member(ctx, p, t.Session)
	if err != nil {
		return err
	}
	if r := info.Member.Role; r != room.Host && r != room.CoHost {
		return notModerator()
	}
	return nil
}

func notModerator() error {
	return refuse(http.StatusForbidden, room.NotAllowed, "only a host or co-host may do this")
}

// moderates says whether a subject comes in as a host or co-host, and may come in.
func moderates(s *room.State, subject string) bool {
	rec := s.Record(subject)
	return subject != "" && !rec.Banned && rec.Kicked == nil &&
		(subject == s.Settings.Owner || subject == s.Settings.Host || slices.Contains(s.Settings.Moderators, subject))
}

// podless says that a room has no pod now, but may have one again.
func podless(err error) bool {
	r, ok := errors.AsType[*refusal](err)
	return ok && (r.code == codeRoomWaking || r.code == codeRoomNotReady)
}

// remembered is what a room's resource tells of who may come in while no pod has the room.
func remembered(vr *v1alpha1.VoiceRoom) *room.State {
	s := &room.State{Settings: room.Settings{Owner: vr.Spec.Owner, Host: cmp.Or(vr.Status.Host, vr.Spec.Owner),
		Moderators: vr.Spec.Moderators, Access: room.Access(vr.Spec.Access)}}
	if at := vr.Status.InvitesResetAt; at != nil {
		s.Settings.InvitesSince = &at.Time
	}
	for _, banned := range [][]string{vr.Spec.Banned, vr.Status.Banned} {
		for _, subject := range banned {
			s.Records = append(s.Records, room.Record{Subject: subject, Banned: true})
		}
	}
	for _, k := range vr.Status.Kicked {
		s.Records = append(s.Records, room.Record{Subject: k.Subject, Kicked: &k.At.Time})
	}
	slices.SortStableFunc(s.Records, func(a, b room.Record) int { return strings.Compare(a.Subject, b.Subject) })
	return s
}
