package media

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/token"
)

// frameTimeout is how long a watcher may take to read what was written to it.
const frameTimeout = 5 * time.Second

// api serves package mediaapi.
type api struct {
	log     *slog.Logger
	podUID  string
	keeper  *keeper
	keyring *keyring
	tokens  *token.Verifier // of room tokens
	metrics *metrics
}

// caller is who may call.
type caller string

// callers maps who may call to a handler; operator may call all.
const (
	operatorOnly caller = token.CallerOperator
	anyCaller    caller = token.CallerGateway
)

// handler builds the routes. See the table in package mediaapi.
func (a *api) handler() http.Handler {
	mux := http.NewServeMux()
	route := func(pattern string, who caller, h http.HandlerFunc) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if err := a.authenticate(r, who); err != nil {
				a.fail(w, r, err)
				return
			}
			h(w, r)
		})
	}
	route("PUT /v1/room", operatorOnly, body(a, mediaapi.MaxState, a.put))
	route("GET /v1/room", anyCaller, body(a, 0, a.get))
	route("GET /v1/room/watch", anyCaller, a.watch)
	route("DELETE /v1/room", operatorOnly, body(a, 0, a.delete))
	route("POST /v1/room/reservations", anyCaller, body(a, mediaapi.MaxRequest, a.reserve))
	route("POST /v1/room/commands", anyCaller, body(a, mediaapi.MaxRequest, a.command))
	route("PUT /v1/room/lease", anyCaller, body(a, mediaapi.MaxRequest, a.renew))
	route("PUT /v1/room/moved", operatorOnly, body(a, mediaapi.MaxRequest, a.moved))
	route("GET /v1/room/members", anyCaller, body(a, 0, a.member))
	route("GET /v1/room/sessions/{session}", anyCaller, body(a, 0, a.session))
	route("POST /v1/room/sessions", anyCaller, body(a, mediaapi.MaxRequest, a.signal))
	route("PATCH /v1/room/sessions/{session}", anyCaller, body(a, mediaapi.MaxRequest, a.restart))
	route("DELETE /v1/room/sessions/{session}", anyCaller, body(a, mediaapi.MaxRequest, a.hangup))
	route("PUT /v1/keys", operatorOnly, body(a, mediaapi.MaxRequest, a.putKeys))
	route("/", anyCaller, func(w http.ResponseWriter, r *http.Request) {
		a.fail(w, r, &room.Error{Code: mediaapi.NotFound, Detail: "there is no such resource"})
	})
	return mux
}

// none is the body of requests that have none.
type none struct{}

// body makes a handler of a function: it decodes what came, which may have limit
// bytes, and answers what the function returns; nil is 204.
func body[In, Out any](a *api, limit int64, f func(*http.Request, In) (*Out, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var in In
		if limit > 0 {
			if err := decode(http.MaxBytesReader(w, r.Body, limit), &in); err != nil {
				a.fail(w, r, err)
				return
			}
		}
		out, err := f(r, in)
		switch {
		case err != nil:
			a.fail(w, r, err)
		case out == nil:
			w.WriteHeader(http.StatusNoContent)
		default:
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(marshal(out)) // the caller may have gone
		}
	}
}

func decode(from io.Reader, into any) error {
	err := json.NewDecoder(from).Decode(into)
	switch tooLarge := (*http.MaxBytesError)(nil); {
	case err == nil:
		return nil
	case errors.As(err, &tooLarge):
		return &room.Error{Code: mediaapi.TooLarge, Detail: "the body is too large"}
	default:
		return &room.Error{Code: mediaapi.BadRequest, Detail: "the body is not the JSON that is expected"}
	}
}

// authenticate checks the caller's token against the keys of who may call.
func (a *api) authenticate(r *http.Request, who caller) error {
	bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return &room.Error{Code: mediaapi.Unauthenticated, Detail: "a caller's token is needed"}
	}
	name, err := a.keyring.caller(bearer, a.podUID)
	switch {
	case err != nil:
		return &room.Error{Code: mediaapi.Unauthenticated, Detail: "the caller's token is not valid: " + string(mediaapi.TokenCode(err))}
	case name != token.CallerOperator && name != string(who):
		return &room.Error{Code: mediaapi.Forbidden, Detail: "a " + name + " may not do this"}
	}
	return nil
}

// statusError is a refusal with another HTTP status than its code's.
type statusError struct {
	status int
	error
}

func (e *statusError) Unwrap() error { return e.error }

// fail is the one place that answers and logs errors.
func (a *api) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := mediaapi.NewProblem(err)
	if special := (*statusError)(nil); errors.As(err, &special) {
		p.Status, p.Title = special.status, http.StatusText(special.status)
	}
	if p.Code == mediaapi.Internal {
		a.log.Error("answering a control request", "method", r.Method, "path", r.URL.Path, "error", err)
	}
	p.Write(w)
}

func (a *api) put(_ *http.Request, r mediaapi.PutRequest) (*room.State, error) {
	return ask(a.keeper, func() (*room.State, error) { return a.keeper.put(r) })
}

func (a *api) get(h *http.Request, _ none) (*room.State, error) {
	epoch, err := numberOf(h, "epoch")
	if err != nil {
		return nil, err
	}
	return ask(a.keeper, func() (*room.State, error) {
		if err := a.keeper.atAny(epoch); err != nil {
			return nil, err
		}
		return a.keeper.room.State(), nil
	})
}

func (a *api) delete(h *http.Request, _ none) (*none, error) {
	epoch, err := numberOf(h, "epoch")
	if err != nil {
		return nil, err
	}
	return ask(a.keeper, func() (*none, error) { return nil, a.keeper.closeRoom(epoch, h.FormValue("reason")) })
}

func (a *api) reserve(_ *http.Request, r mediaapi.ReserveRequest) (*mediaapi.Reservation, error) {
	return ask(a.keeper, func() (*mediaapi.Reservation, error) { return a.keeper.reserve(r) })
}

func (a *api) renew(_ *http.Request, r mediaapi.LeaseRequest) (*none, error) {
	return ask(a.keeper, func() (*none, error) { return nil, a.keeper.renew(r) })
}

func (a *api) moved(_ *http.Request, r mediaapi.MovedRequest) (*none, error) {
	return ask(a.keeper, func() (*none, error) { return nil, a.keeper.move(r) })
}

func (a *api) putKeys(_ *http.Request, k mediaapi.Keys) (*none, error) {
	return nil, a.keyring.set(k)
}

// numberOf reads a parameter, 0 if it is not there.
func numberOf(h *http.Request, name string) (uint64, error) {
	s := h.FormValue(name)
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, &room.Error{Code: mediaapi.BadRequest, Detail: name + " is not a number"}
	}
	return n, nil
}

// watch streams frames until the caller goes or the room has ended.
func (a *api) watch(w http.ResponseWriter, h *http.Request) {
	epoch, err := numberOf(h, "epoch")
	if err != nil {
		a.fail(w, h, err)
		return
	}
	after, err := numberOf(h, "after")
	if err != nil {
		a.fail(w, h, err)
		return
	}
	stream, err := ask(a.keeper, func() (*watcher, error) { return a.keeper.watch(epoch, after) })
	if err != nil {
		a.fail(w, h, err)
		return
	}
	defer a.keeper.call(func() { a.keeper.unwatch(stream) })
	a.stream(w, h, stream)
}

func (a *api) stream(w http.ResponseWriter, h *http.Request, stream *watcher) {
	w.Header().Set("Content-Type", "application/x-ndjson")
	if err := http.NewResponseController(w).SetReadDeadline(time.Time{}); err != nil { // the server's is for requests that end
		a.fail(w, h, err)
		return
	}
	pulse := time.NewTicker(mediaapi.Heartbeat)
	defer pulse.Stop()
	for ended := false; ; {
		frames := stream.take()
		if len(frames) == 0 && ended {
			return
		}
		if err := writeFrames(w, frames); err != nil {
			return // the watcher has gone
		}
		select {
		case <-h.Context().Done():
			return
		case <-stream.ready:
		case <-a.keeper.ended: // what was pushed before is still to be taken
			ended = true
		case <-pulse.C:
			if err := writeFrames(w, [][]byte{line(mediaapi.Frame{})}); err != nil {
				return
			}
		}
	}
}

func writeFrames(w http.ResponseWriter, frames [][]byte) error {
	control := http.NewResponseController(w)
	if err := control.SetWriteDeadline(time.Now().Add(frameTimeout)); err != nil {
		return err
	}
	for _, f := range frames {
		if _, err := w.Write(f); err != nil {
			return err
		}
	}
	return control.Flush()
}
