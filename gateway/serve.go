package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
)

const (
	readTimeout   = 15 * time.Second // for a request's body
	handleTimeout = 25 * time.Second // for what a handler waits for; a stream has none
	writeTimeout  = 30 * time.Second // for an answer; a stream has one for each write
)

// Media types of bodies.
const (
	typeJSON    = "application/json"
	typeSDP     = "application/sdp"
	typeTrickle = "application/trickle-ice-sdpfrag"
)

// route is one row of the API.
type route struct {
	method, path string
	maxBody      int64    // bytes; 0: a body is not read
	types        []string // media types that a body may have
	stream       bool     // the answer has no end
	handle       func(w http.ResponseWriter, r *http.Request) error
}

// mux serves routes; whatever is wrong with a request is answered as a problem.
func (g *Gateway) mux(routes []route) http.Handler {
	byPath := map[string]map[string]route{}
	for _, rt := range routes {
		if byPath[rt.path] == nil {
			byPath[rt.path] = map[string]route{}
		}
		byPath[rt.path][rt.method] = rt
	}
	mux := http.NewServeMux()
	for path, methods := range byPath {
		mux.Handle(path, g.methods(path, methods))
	}
	mux.Handle("/", g.serve(route{path: "other", handle: func(http.ResponseWriter, *http.Request) error {
		return refuse(http.StatusNotFound, codeNotFound, "there is nothing here")
	}}))
	return mux
}

func (g *Gateway) methods(path string, methods map[string]route) http.Handler {
	handlers := map[string]http.Handler{}
	var allow []string
	for method, rt := range methods {
		handlers[method] = g.serve(rt)
		allow = append(allow, method)
	}
	if h, ok := handlers[http.MethodGet]; ok && !methods[http.MethodGet].stream {
		handlers[http.MethodHead] = h
		allow = append(allow, http.MethodHead)
	}
	slices.Sort(allow)
	refused := g.serve(route{path: path, handle: func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Allow", strings.Join(allow, ", "))
		return refuse(http.StatusMethodNotAllowed, codeMethod, "this address takes %s", strings.Join(allow, ", "))
	}})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, ok := handlers[r.Method]
		if !ok {
			h = refused
		}
		h.ServeHTTP(w, r)
	})
}

// serve bounds, measures, answers errors, and logs.
func (g *Gateway) serve(rt route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := g.now()
		rec := &recorder{ResponseWriter: w}
		rec.Header().Set("X-Content-Type-Options", "nosniff")
		var answer *refusal
		if err := g.handle(rec, r, rt); err != nil {
			answer = refusalOf(err)
			if r.Context().Err() != nil { // whatever failed, it failed because of that
				answer = refuse(statusClientGone, codeClientGone, "the client has gone")
			}
			if rec.status == 0 {
				answer.write(rec)
			}
		}
		status := rec.status
		if status == 0 {
			status = http.StatusOK
			if answer != nil {
				status = answer.status
			}
		}
		took := g.now().Sub(start)
		g.metrics.requests.WithLabelValues(rt.path, strconv.Itoa(status)).Inc()
		if !rt.stream {
			g.metrics.latency.WithLabelValues(rt.path).Observe(took.Seconds())
		}
		g.logAccess(r, rt, status, took, answer)
	})
}

// handle runs a route's handler within bounds. Its panic is an error like another:
// net/http would only drop the connection.
func (g *Gateway) handle(w http.ResponseWriter, r *http.Request, rt route) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	if err := g.bound(w, r, rt); err != nil {
		return err
	}
	if !rt.stream {
		ctx, cancel := context.WithTimeout(r.Context(), handleTimeout)
		defer cancel()
		r = r.WithContext(ctx)
	}
	return rt.handle(w, r)
}

// bound sets what a request may take, and refuses a body of the wrong type.
func (g *Gateway) bound(w http.ResponseWriter, r *http.Request, rt route) error {
	// Errors are of a connection that knows no deadlines, as in some tests.
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(readTimeout))
	if rt.stream {
		_ = control.SetReadDeadline(time.Time{})
	}
	_ = control.SetWriteDeadline(time.Now().Add(writeTimeout)) // a stream's first: an earlier request's may have passed
	r.Body = http.MaxBytesReader(w, r.Body, rt.maxBody)
	if len(rt.types) == 0 || r.ContentLength == 0 {
		return nil
	}
	got, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || !slices.Contains(rt.types, got) {
		return refuse(http.StatusUnsupportedMediaType, codeContentType, "the body must be %s", strings.Join(rt.types, " or "))
	}
	return nil
}

// logAccess writes one line a request. Paths name rooms and sessions, which are no
// secrets; queries, headers and bodies stay out.
func (g *Gateway) logAccess(r *http.Request, rt route, status int, took time.Duration, answer *refusal) {
	level := slog.LevelDebug
	attrs := []slog.Attr{slog.String("method", r.Method), slog.String("route", rt.path), slog.Int("status", status), slog.Duration("took", took),
		slog.String("namespace", r.PathValue("namespace")), slog.String("room", r.PathValue("room"))}
	if answer != nil {
		attrs = append(attrs, slog.String("code", string(answer.code)))
		if answer.status >= http.StatusInternalServerError {
			level = slog.LevelWarn
			attrs = append(attrs, slog.Any("error", answer.cause))
		}
	}
	if level == slog.LevelDebug && g.cfg.AccessLog {
		level = slog.LevelInfo
	}
	g.cfg.Log.LogAttrs(r.Context(), level, "Request", attrs...)
}

// recorder remembers the status that was written.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// readJSON reads a body; an empty one is the zero value.
func readJSON[T any](r *http.Request) (T, error) {
	var v T
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return v, bodyError(err)
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return v, nil
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		return v, refuse(http.StatusBadRequest, mediaapi.BadRequest, "the body cannot be read: %.200s", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return v, refuse(http.StatusBadRequest, mediaapi.BadRequest, "the body holds more than one value")
	}
	return v, nil
}

// bodyError types an error of reading a body: too much of it, or a client that stopped sending.
func bodyError(err error) error {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return err
	}
	return refuse(http.StatusBadRequest, mediaapi.BadRequest, "the body could not be read").because(err)
}

func writeJSON(w http.ResponseWriter, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", typeJSON)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the caller may have gone
	return nil
}

// stale is the answer to a request for an epoch that is over.
func stale(status int) error {
	return refuse(status, room.StaleEpoch, "the room has moved to another media pod; join again")
}
