package main

import (
	"encoding/json"
	"net"
	"net/http"
	"strconv"
	"time"

	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
)

// none is what has no body.
type none struct{}

// handler serves package mediaapi for all pods; the address that was called says which.
func (f *pods) handler() http.Handler {
	mux := http.NewServeMux()
	handle(f, mux, "PUT /v1/room", func(p *pod, _ *http.Request, r mediaapi.PutRequest) (*room.State, error) { return p.put(r) })
	handle(f, mux, "GET /v1/room", func(p *pod, h *http.Request, _ none) (*room.State, error) {
		if err := p.at(number(h, "epoch")); err != nil {
			return nil, err
		}
		return p.room.State(), nil
	})
	handle(f, mux, "DELETE /v1/room", func(p *pod, h *http.Request, _ none) (*none, error) {
		if err := p.at(number(h, "epoch")); err != nil {
			return nil, err
		}
		return nil, p.do(room.Close{Reason: h.FormValue("reason")})
	})
	handle(f, mux, "POST /v1/room/reservations", func(p *pod, _ *http.Request, r mediaapi.ReserveRequest) (*mediaapi.Reservation, error) {
		return p.reserve(r)
	})
	handle(f, mux, "POST /v1/room/commands", func(p *pod, _ *http.Request, r mediaapi.CommandRequest) (*mediaapi.CommandResult, error) {
		return p.command(r)
	})
	handle(f, mux, "PUT /v1/room/lease", func(p *pod, _ *http.Request, r mediaapi.LeaseRequest) (*none, error) { return nil, p.renew(r) })
	handle(f, mux, "PUT /v1/keys", func(*pod, *http.Request, none) (*none, error) { return nil, nil })
	handle(f, mux, "GET /v1/room/members", func(p *pod, h *http.Request, _ none) (*mediaapi.SessionInfo, error) {
		return p.info(number(h, "epoch"), func() (room.Member, bool) { return p.room.Subject(h.FormValue("subject")) }, room.UnknownMember)
	})
	handle(f, mux, "GET /v1/room/sessions/{session}", func(p *pod, h *http.Request, _ none) (*mediaapi.SessionInfo, error) {
		return p.info(number(h, "epoch"), func() (room.Member, bool) { return p.room.Session(h.PathValue("session")) }, room.UnknownSession)
	})
	mux.HandleFunc("GET /v1/room/watch", f.watch)
	return mux
}

// podOf is the pod that was called.
func (f *pods) podOf(h *http.Request) *pod {
	local, _ := h.Context().Value(http.LocalAddrContextKey).(net.Addr)
	return f.at(local)
}

// handle makes a route of a function, which runs with the pod's lock held. Nil is 204.
func handle[In, Out any](f *pods, mux *http.ServeMux, pattern string, do func(*pod, *http.Request, In) (*Out, error)) {
	mux.HandleFunc(pattern, func(w http.ResponseWriter, h *http.Request) {
		p := f.podOf(h)
		if p == nil {
			mediaapi.NewProblem(&room.Error{Code: mediaapi.Stopping, Detail: "this pod is gone"}).Write(w)
			return
		}
		var in In
		if _, empty := any(in).(none); !empty {
			if err := json.NewDecoder(http.MaxBytesReader(w, h.Body, mediaapi.MaxState)).Decode(&in); err != nil {
				mediaapi.NewProblem(&room.Error{Code: mediaapi.BadRequest, Detail: err.Error()}).Write(w)
				return
			}
		}
		p.mu.Lock()
		out, err := do(p, h, in)
		p.mu.Unlock()
		switch {
		case err != nil:
			mediaapi.NewProblem(err).Write(w)
		case out == nil:
			w.WriteHeader(http.StatusNoContent)
		default:
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(out) // the caller may have gone
		}
	})
}

func number(h *http.Request, name string) uint64 {
	n, _ := strconv.ParseUint(h.FormValue(name), 10, 64) // none is 0
	return n
}

// watch streams frames until the watcher or the pod is gone, or the room has ended.
func (f *pods) watch(w http.ResponseWriter, h *http.Request) {
	p := f.podOf(h)
	if p == nil {
		mediaapi.NewProblem(&room.Error{Code: mediaapi.Stopping, Detail: "this pod is gone"}).Write(w)
		return
	}
	stream, err := p.watch(number(h, "epoch"), number(h, "after"))
	if err != nil {
		mediaapi.NewProblem(err).Write(w)
		return
	}
	defer p.unwatch(stream)
	w.Header().Set("Content-Type", "application/x-ndjson")
	pulse := time.NewTicker(mediaapi.Heartbeat)
	defer pulse.Stop()
	beat := line(mediaapi.Frame{})
	for {
		for _, frame := range p.take(stream) {
			if _, err := w.Write(frame); err != nil {
				return
			}
		}
		if http.NewResponseController(w).Flush() != nil {
			return
		}
		select {
		case <-h.Context().Done():
			return
		case <-p.gone:
			return
		case <-stream.ready:
		case <-pulse.C:
			if _, err := w.Write(beat); err != nil {
				return
			}
		}
	}
}

// census is what a benchmark asks for.
type census struct {
	Pods      int `json:"pods"`
	Rooms     int `json:"rooms"`
	Activated int `json:"activated"`
	Watched   int `json:"watched"` // rooms that somebody has a stream of
	Leased    int `json:"leased"`  // rooms that strangers may come in to
}

func (f *pods) count() census {
	var c census
	for _, p := range f.all() {
		p.mu.Lock()
		c.Pods++
		if p.room != nil {
			c.Rooms++
			if p.room.View().ActivatedAt != nil {
				c.Activated++
			}
			if len(p.watchers) > 0 {
				c.Watched++
			}
			if p.lease.After(f.now()) {
				c.Leased++
			}
		}
		p.mu.Unlock()
	}
	return c
}

// adminHandler takes the commands of a benchmark.
func (f *pods) adminHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	mux.HandleFunc("GET /rooms", func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(f.count()) })
	mux.HandleFunc("POST /owners", func(w http.ResponseWriter, h *http.Request) {
		f.ownersCome.Store(h.FormValue("come") == "true")
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("POST /joins", func(w http.ResponseWriter, h *http.Request) {
		for _, p := range f.all() {
			p.mu.Lock()
			if p.room == nil || p.room.View().ID.Namespace+"/"+p.room.View().ID.Name != h.FormValue("room") {
				p.mu.Unlock()
				continue
			}
			err := p.comeMore(int(number(h, "n")))
			p.mu.Unlock()
			if err != nil {
				http.Error(w, err.Error(), http.StatusConflict)
			}
			return
		}
		http.Error(w, "there is no such room", http.StatusNotFound)
	})
	return mux
}
