package gateway

import (
	"context"
	"io"
	"net/http"

	"voiceroom.dev/voiceroom/admission"
	"voiceroom.dev/voiceroom/room"
)

// commandRoutes are the room's commands that clients may give, one route each, so that
// each has its own schema in docs/openapi.yaml and its own line among the metrics.
func (g *Gateway) commandRoutes() []route {
	var all []route
	for _, name := range room.CommandNames() {
		if room.ClientCommand(name) {
			all = append(all, route{method: http.MethodPost, path: "/v1/rooms/{namespace}/{room}/commands/" + name,
				maxBody: maxJSON, types: []string{typeJSON}, handle: func(w http.ResponseWriter, r *http.Request) error { return g.command(w, r, name) }})
		}
	}
	return all
}

// commanded is what a command came to.
type commanded struct {
	Epoch uint64 `json:"epoch"`
	Seq   uint64 `json:"seq"`
	// Durable says whether the room as of Seq outlives its media pod.
	Durable bool `json:"durable"`
}

// command gives a command of the room: with a room token as its session, just as over
// the data channel; for the owner and back ends as the room's control plane.
func (g *Gateway) command(w http.ResponseWriter, r *http.Request, name string) error {
	who, err := g.identify(r)
	if err != nil {
		return err
	}
	p, err := g.located(r.Context(), r.PathValue("namespace"), r.PathValue("room"))
	if err != nil {
		return err
	}
	a, err := g.actor(r.Context(), who, p)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return bodyError(err)
	}
	c, err := room.Decode(name, body)
	if err != nil {
		return err
	}
	if a.session == "" {
		if c, err = fromOutside(c); err != nil {
			return err
		}
	}
	return g.give(w, r, p, a, c)
}

// fromOutside refuses what a member does for itself, and takes from the others what only
// the operator says.
func fromOutside(c room.Command) (room.Command, error) {
	switch c := c.(type) {
	case room.Leave, room.TakeMic, room.LeaveMic, room.Mute, room.RaiseHand, room.AnswerAsk, room.Rename:
		return nil, refuse(http.StatusForbidden, codeSessionRequired, "a member does this for itself: it takes the room token of its session")
	case room.Close:
		c.Reason = "" // closed by a moderator, whoever that is
		return c, nil
	}
	return c, nil
}

// give carries a command out. What a fail-over must not undo is waited for.
func (g *Gateway) give(w http.ResponseWriter, r *http.Request, p place, a actor, c room.Command) error {
	// The caller may have gone; half a fence is worse than one that nobody heard of.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), clusterTimeout)
	defer cancel()
	command := p.pod.Command
	if lasting(c) {
		command = p.pod.CommandDurably
	}
	result, err := command(ctx, p.Epoch, a.session, c)
	if err != nil {
		return admission.FromPod("giving a command", err)
	}
	return writeJSON(w, http.StatusOK, commanded{Epoch: result.Epoch, Seq: result.Seq, Durable: result.Durable})
}

// lasting says whether a command keeps somebody out, or lets in whom one kept out. The next
// pod is to know of it.
func lasting(c room.Command) bool {
	switch c := c.(type) {
	case room.Kick, room.Unban, room.ResetInvites, room.Close:
		return true
	case room.Configure:
		return c.Access != nil
	}
	return false
}
