//go:build linux

package floor

import (
	"context"
	"encoding/json"
	"net/http"
	"net/netip"
	"sync"
	"time"
)

// Handler lets another process control a Sender: POST /listeners adds those of a JSON list of addresses, POST
// /play makes it send until POST /pause.
func Handler(s *Sender, failed func(error)) http.Handler {
	p := &player{sender: s, failed: failed}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /listeners", p.add)
	mux.HandleFunc("POST /play", func(http.ResponseWriter, *http.Request) { p.play() })
	mux.HandleFunc("POST /pause", func(http.ResponseWriter, *http.Request) { p.pause() })
	return mux
}

type player struct {
	sender *Sender
	failed func(error)

	mu      sync.Mutex
	stop    context.CancelFunc // nil: it is silent
	playing sync.WaitGroup
}

func (p *player) add(w http.ResponseWriter, r *http.Request) {
	var listeners []netip.AddrPort
	if err := json.NewDecoder(r.Body).Decode(&listeners); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stop != nil {
		http.Error(w, "it is playing", http.StatusConflict)
		return
	}
	p.sender.Add(listeners)
}

func (p *player) play() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stop != nil {
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	p.stop = stop
	p.playing.Go(func() {
		timer := time.NewTimer(0)
		defer timer.Stop()
		due := time.Now()
		for tick := 0; ; tick++ { // a tick that comes late is made up for, as talkers do
			select {
			case <-ctx.Done():
				return
			case <-timer.C:
			}
			due = due.Add(FrameTime)
			timer.Reset(time.Until(due))
			if err := p.sender.Tick(tick); err != nil {
				p.failed(err)
				return
			}
		}
	})
}

func (p *player) pause() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stop == nil {
		return
	}
	p.stop()
	p.playing.Wait()
	p.stop = nil
}
