package gateway

import (
	"context"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"voiceroom.dev/voiceroom/admission"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/token"
)

// codeRestartOffer: RFC 9725 restarts ICE with a fragment; we take the new offer.
const codeRestartOffer room.Code = "restart-needs-offer"

// offer opens a session: the client's SDP offer goes to the room's pod, the pod's
// answer to the client (RFC 9725, section 4.2).
func (g *Gateway) offer(w http.ResponseWriter, r *http.Request) error {
	credential, err := bearer(r)
	if err != nil {
		return err
	}
	if !token.IsTicket(credential) && !token.IsRoom(credential) {
		return refuse(http.StatusUnauthorized, mediaapi.Unauthenticated, "this takes a room token or a ticket")
	}
	sdp, err := io.ReadAll(r.Body) // before a place is taken for it
	if err != nil {
		return bodyError(err)
	}
	began := g.now()
	p, roomToken, session, inline, err := g.opening(r, credential)
	if err != nil {
		return err
	}
	ctx, span := g.step(r, "signal", session, began)
	answer, err := p.pod.Signal(ctx, mediaapi.SignalRequest{Epoch: p.Epoch, Token: roomToken, Offer: string(sdp)})
	taken(span, err)
	if err != nil {
		if inline { // nobody else knows of the session
			g.release(r.Context(), p, session)
		}
		err = admission.FromPod("opening a session", err)
		if admission.CodeOf(err) == room.UnknownSession { // here it is the credential that is out of date
			return refuse(http.StatusUnauthorized, room.UnknownSession, "the token's session has ended or was replaced; join again")
		}
		return err
	}
	w.Header().Set("Location", rtcPath(p.ID.Namespace, p.ID.Name)+"/"+strconv.FormatUint(p.Epoch, 10)+"/"+answer.Session)
	return writeSDP(w, http.StatusCreated, answer)
}

// opening returns where an offer goes and the room token that opens the session. A
// ticket is admitted inline.
func (g *Gateway) opening(r *http.Request, credential string) (p place, roomToken, session string, inline bool, err error) {
	namespace, name := r.PathValue("namespace"), r.PathValue("room")
	if token.IsRoom(credential) {
		t, err := g.roomToken(credential, false)
		if err != nil {
			return p, "", "", false, err
		}
		if p, err = g.located(r.Context(), namespace, name); err != nil {
			return p, "", "", false, err
		}
		return p, credential, t.Session, false, p.match(t, http.StatusUnauthorized)
	}
	who, err := g.ofTicket(credential)
	if err != nil {
		return p, "", "", false, err
	}
	vr, err := g.voiceRoom(r.Context(), namespace, name)
	if err != nil {
		return p, "", "", false, err
	}
	p, grant, err := g.admit(r, who, vr, wish{})
	return p, grant.Token, grant.Session, true, err
}

// release gives back the place of a session that was never opened.
func (g *Gateway) release(ctx context.Context, p place, session string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), clusterTimeout)
	defer cancel()
	if err := g.desk.Failed(ctx, p.Room, session); err != nil {
		g.cfg.Log.Warn("A reservation could not be released; it runs out", "namespace", p.ID.Namespace, "room", p.ID.Name, "error", err)
	}
}

// restart answers an ICE restart. Candidates that trickle in are of no use to an
// ICE-lite server, which learns the client's address from its checks.
func (g *Gateway) restart(w http.ResponseWriter, r *http.Request) error {
	p, t, err := g.opened(r)
	if err != nil {
		return err
	}
	tag := strings.TrimSpace(r.Header.Get("If-Match"))
	if mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); mediaType == typeTrickle {
		if tag == "*" {
			return refuse(http.StatusUnprocessableEntity, codeRestartOffer, "to restart ICE, send the new offer as %s", typeSDP)
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	if tag == "" {
		return refuse(http.StatusPreconditionRequired, codeIfMatch, "an ICE restart needs If-Match with the ETag of the session, or *")
	}
	sdp, err := io.ReadAll(r.Body)
	if err != nil {
		return bodyError(err)
	}
	signed, err := g.minter.Room(t) // what opened the session may have been a ticket
	if err != nil {
		return keysNotReady(err)
	}
	answer, err := p.pod.Restart(r.Context(), t.Session, mediaapi.SignalRequest{Epoch: p.Epoch, Token: signed, Offer: string(sdp), IfMatch: tag})
	if err != nil {
		return admission.FromPod("restarting ICE", err)
	}
	return writeSDP(w, http.StatusOK, answer)
}

func (g *Gateway) hangup(w http.ResponseWriter, r *http.Request) error {
	p, t, err := g.opened(r)
	if err != nil {
		return err
	}
	return g.end(r.Context(), w, p, t.Session)
}

// opened returns the session of the path, if the caller shows what opened it: its
// room token, or a ticket of its subject for this room; either may have expired.
func (g *Gateway) opened(r *http.Request) (place, token.Room, error) {
	credential, err := bearer(r)
	if err != nil {
		return place{}, token.Room{}, err
	}
	var shown token.Room
	var ticket token.Ticket
	switch {
	case token.IsRoom(credential):
		if shown, err = g.roomToken(credential, true); err != nil {
			return place{}, token.Room{}, err
		}
	case token.IsTicket(credential):
		if ticket, err = g.tickets.TicketExpired(credential); err != nil {
			return place{}, token.Room{}, tokenRefusal(err)
		}
	default:
		return place{}, token.Room{}, refuse(http.StatusUnauthorized, mediaapi.Unauthenticated, "this takes what opened the session")
	}
	p, err := g.located(r.Context(), r.PathValue("namespace"), r.PathValue("room"))
	if err != nil {
		return place{}, token.Room{}, err
	}
	epoch, err := strconv.ParseUint(r.PathValue("epoch"), 10, 64)
	if err != nil {
		return place{}, token.Room{}, refuse(http.StatusNotFound, codeNotFound, "there is nothing here")
	}
	if err := p.at(epoch, http.StatusGone); err != nil {
		return place{}, token.Room{}, err
	}
	session := r.PathValue("session")
	if ticket.ID != "" {
		t, err := g.ofSubject(r.Context(), p, ticket, session)
		return p, t, err
	}
	if err := p.match(shown, http.StatusGone); err != nil {
		return place{}, token.Room{}, err
	}
	if shown.Session != session {
		return place{}, token.Room{}, refuse(http.StatusForbidden, codeOtherSession, "the token is of another session")
	}
	shown.ExpiresAt, shown.Keys = g.now().Add(token.RoomTTL), shown.Proofs()
	return p, shown, nil
}

// ofSubject returns what the room token of a session says, if it is the session of
// the ticket's subject.
func (g *Gateway) ofSubject(ctx context.Context, p place, t token.Ticket, session string) (token.Room, error) {
	if t.Purpose != token.PurposeGuest && t.RoomUID != p.ID.UID {
		return token.Room{}, tokenRefusal(token.ErrAudience)
	}
	info, err := p.pod.Session(ctx, p.Epoch, session)
	if err != nil {
		return token.Room{}, admission.FromPod("looking for a session", err)
	}
	m, since := info.Member, g.now()
	if m.Entered != nil {
		since = *m.Entered
	}
	switch {
	case t.Subject == "" || m.Subject != t.Subject:
		return token.Room{}, refuse(http.StatusForbidden, codeOtherSession, "the ticket is of another session")
	case t.ExpiresAt.Before(since): // it expired before the subject came in: something else opened the session
		return token.Room{}, tokenRefusal(token.ErrExpired)
	}
	return token.Room{RoomUID: p.ID.UID, Epoch: p.Epoch, Subject: m.Subject, Session: session, Group: p.ID.GroupID,
		Role: string(m.Role), Name: m.Name, Keys: []string{t.Key}}, nil
}

func writeSDP(w http.ResponseWriter, status int, answer *mediaapi.SignalAnswer) error {
	w.Header().Set("Content-Type", typeSDP)
	w.Header().Set("ETag", answer.ETag)
	w.Header().Set("Accept-Patch", typeSDP+", "+typeTrickle)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, answer.Answer) // the caller may have gone
	return nil
}
