package weak

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"strconv"
	"sync"

	"voiceroom.dev/voiceroom/hack/bot"
	"voiceroom.dev/voiceroom/web"
)

//go:embed page
var page embed.FS

// maxBody bounds what a page sends, in bytes.
const maxBody = 8 << 20

// stage is the HTTP server that the pages of a run come from and signal through, beside the rooms.
type stage struct {
	options Options
	halls   []*hall
	seeds   uint64

	results chan report
	failed  chan error

	begun barrier // once all pages are there: a browser that starts takes the others' time
	weak  barrier // once all pages have connected everybody
}

// report is what a page measured of one listener.
type report struct {
	Room     int    `json:"room"`
	Listener int    `json:"listener"`
	Result   Result `json:"result"`
}

func newStage(o Options) *stage {
	return &stage{options: o, results: make(chan report), failed: make(chan error, 1), begun: newBarrier(), weak: newBarrier()}
}

// seed is another for each client of a run, and the same in the next run.
func (s *stage) seed() uint64 {
	s.seeds++
	return s.options.Seed<<32 | s.seeds
}

func (s *stage) close() error {
	var errs []error
	for _, h := range s.halls {
		errs = append(errs, h.close())
	}
	return errors.Join(errs...)
}

// perform serves the pages, opens the browsers that are needed, and waits for the results of all.
func (s *stage) perform(ctx context.Context, scratch string) ([][]Result, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("serving the page: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	server := &http.Server{Handler: s.handler(), ReadHeaderTimeout: setupTime, BaseContext: func(net.Listener) context.Context { return ctx }}
	var running sync.WaitGroup
	running.Go(func() { _ = server.Serve(listener) })
	var browsers []*browser
	defer func() {
		cancel()
		for _, b := range browsers {
			b.close()
		}
		_ = server.Close()
		running.Wait()
	}()
	start := []func(context.Context, string, string) (*browser, error){chromium}
	if s.hasFirefox() {
		start = append(start, firefox)
	}
	s.begun.pages, s.weak.pages = len(start), len(start)
	for _, open := range start {
		b, err := open(ctx, scratch, "http://"+listener.Addr().String())
		if err != nil {
			return nil, err
		}
		browsers = append(browsers, b)
	}
	return s.gather(ctx)
}

func (s *stage) hasFirefox() bool {
	for _, h := range s.halls {
		for _, l := range h.Listeners {
			if l.Firefox {
				return true
			}
		}
	}
	return false
}

// gather waits for the results of all listeners.
func (s *stage) gather(ctx context.Context) ([][]Result, error) {
	missing := 0
	results := make([][]Result, len(s.halls))
	for i, h := range s.halls {
		results[i] = make([]Result, len(h.Listeners))
		missing += len(h.Listeners)
	}
	for ; missing > 0; missing-- {
		select {
		case r := <-s.results:
			results[r.Room][r.Listener] = r.Result
		case err := <-s.failed:
			return nil, err
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for %d listeners: %w", missing, ctx.Err())
		}
	}
	return results, nil
}

func (s *stage) handler() http.Handler {
	mux := http.NewServeMux()
	files, err := fs.Sub(page, "page")
	if err != nil {
		panic(err) // only for an invalid path, and this one is a constant
	}
	mux.Handle("GET /", http.FileServerFS(files))
	mux.Handle("GET /web/", http.StripPrefix("/web/", http.FileServerFS(web.Files()))) // what our client does with offers
	mux.HandleFunc("GET /speech.ogg", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(bot.Recording()) })
	mux.HandleFunc("GET /plan/{browser}", s.plan)
	mux.HandleFunc("POST /rooms/{room}/{seat}/offer", s.offer)
	mux.HandleFunc("POST /rooms/{room}/{seat}/connected", s.connected)
	mux.HandleFunc("POST /ready", s.ready)
	mux.HandleFunc("POST /result", s.result)
	mux.HandleFunc("POST /failure", func(_ http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(io.LimitReader(r.Body, maxBody))
		s.fail(fmt.Errorf("the page says: %s", text))
	})
	return mux
}

// fail ends the run, unless something did before.
func (s *stage) fail(err error) {
	select {
	case s.failed <- err:
	default:
	}
}

// part is what one client of a page does.
type part struct {
	Room     int       `json:"room"`
	Seat     int       `json:"seat"` // 0: the talker
	Talker   *Talker   `json:"talker,omitempty"`
	Listener *Listener `json:"listener,omitempty"`
}

// plan tells a page who it is to be, once all pages ask. All talkers are in Chromium.
func (s *stage) plan(w http.ResponseWriter, r *http.Request) {
	if err := s.begun.wait(r.Context(), func() error { return nil }); err != nil {
		refuse(w, err)
		return
	}
	inFirefox := r.PathValue("browser") == "firefox"
	parts := []part{}
	for i, h := range s.halls {
		if !inFirefox {
			parts = append(parts, part{Room: i, Talker: &h.Talker})
		}
		for j := range h.Listeners {
			if l := &h.Listeners[j]; l.Firefox == inFirefox {
				parts = append(parts, part{Room: i, Seat: j + 1, Listener: l})
			}
		}
	}
	answer(w, parts)
}

// at finds the seat that a request is about.
func (s *stage) at(r *http.Request) (*hall, int, error) {
	room, err := strconv.Atoi(r.PathValue("room"))
	seat, err2 := strconv.Atoi(r.PathValue("seat"))
	if err != nil || err2 != nil || room < 0 || room >= len(s.halls) || seat < 0 || seat >= len(s.halls[room].seats) {
		return nil, 0, fmt.Errorf("there is no seat %s", r.URL.Path)
	}
	return s.halls[room], seat, nil
}

// offer answers a client's offer; a listener's once the talker is there, who opens the room.
func (s *stage) offer(w http.ResponseWriter, r *http.Request) {
	h, number, err := s.at(r)
	if err != nil {
		refuse(w, err)
		return
	}
	if number > 0 {
		select {
		case <-h.talking:
		case <-r.Context().Done():
			return
		}
	}
	sdp, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil {
		refuse(w, err)
		return
	}
	seat := h.seats[number]
	sdpAnswer, err := h.pod.signal(r.Context(), seat.subject, string(sdp), seat.relay.Addr())
	if err != nil {
		refuse(w, err)
		return
	}
	_, _ = io.WriteString(w, sdpAnswer)
}

// connected lets a client in.
func (s *stage) connected(w http.ResponseWriter, r *http.Request) {
	h, number, err := s.at(r)
	if err == nil {
		err = h.pod.enter(r.Context(), h.seats[number].subject)
	}
	if err != nil {
		refuse(w, err)
		return
	}
	if number == 0 {
		close(h.talking)
	}
}

// ready waits until all pages are, makes the networks weak, and says how long, in ms, to wait and to measure.
func (s *stage) ready(w http.ResponseWriter, r *http.Request) {
	err := s.weak.wait(r.Context(), func() error {
		var errs []error
		for _, h := range s.halls {
			errs = append(errs, h.weaken())
		}
		return errors.Join(errs...)
	})
	if err != nil {
		refuse(w, err)
		return
	}
	answer(w, map[string]int64{"warmup": s.options.Warmup.Milliseconds(), "duration": s.options.Duration.Milliseconds()})
}

func (s *stage) result(w http.ResponseWriter, r *http.Request) {
	var all []report
	if err := json.NewDecoder(io.LimitReader(r.Body, maxBody)).Decode(&all); err != nil {
		refuse(w, err)
		return
	}
	for _, one := range all {
		select {
		case s.results <- one:
		case <-r.Context().Done():
			return
		}
	}
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // a page that has gone asks for nothing
}

func refuse(w http.ResponseWriter, err error) { http.Error(w, err.Error(), http.StatusBadRequest) }
