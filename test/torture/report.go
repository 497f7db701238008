package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"voiceroom.dev/voiceroom/test/torture/history"
)

// judges is how many windows are judged at once; as many more may wait before callers do.
const judges = 2

// report counts, judges and tells.
type report struct {
	out   io.Writer
	dir   string // where histories of violations go
	start time.Time

	operations, lost, faults, violations atomic.Int64
	judged, undecided                    atomic.Int64
	windows                              chan verdictOf
	judging                              sync.WaitGroup

	mu       sync.Mutex
	kinds    map[string]int // operations by way, kind and answer
	troubles map[string]int
	written  int
}

type verdictOf struct {
	room   *voiceRoom
	window *history.Window
}

func newReport(out io.Writer, dir string) *report {
	r := &report{out: out, dir: dir, start: time.Now(), windows: make(chan verdictOf, judges), kinds: map[string]int{}, troubles: map[string]int{}}
	for range judges {
		r.judging.Go(func() {
			for v := range r.windows {
				r.verdict(v.room, v.window, history.Check(v.window))
			}
		})
	}
	return r
}

// finish waits for the last verdict. No window may come after it.
func (r *report) finish() {
	close(r.windows)
	r.judging.Wait()
}

func (r *report) operation(o history.Operation, gone bool) {
	r.operations.Add(1)
	answer := string(o.Code)
	switch {
	case gone:
		r.lost.Add(1)
		answer = strings.TrimSpace("(no answer) " + answer)
	case answer == "":
		answer = "granted"
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kinds[fmt.Sprintf("%-8s %-9s %s", o.Via, o.Kind, answer)]++
}

// trouble is something that went wrong here, not there.
func (r *report) trouble(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.troubles[err.Error()]++
}

// judge queues a window.
func (r *report) judge(room *voiceRoom, w *history.Window) {
	if len(w.Operations) > 0 || len(w.Versions) > 1 {
		r.windows <- verdictOf{room, w}
	}
}

func (r *report) verdict(in *voiceRoom, w *history.Window, v history.Verdict) {
	r.judged.Add(int64(v.Judged))
	if v.Undecided {
		r.undecided.Add(1)
		r.violation(in, w.Epoch, fmt.Sprintf("a history of %d operations could not be judged in %v", len(w.Operations), history.Patience), w)
		return
	}
	if v.Violation == "" {
		return
	}
	path := r.violation(in, w.Epoch, v.Violation, w)
	if err := v.Explain(path + ".html"); err != nil {
		r.trouble(err)
	}
}

// violation counts one, writes down its history and says so.
func (r *report) violation(in *voiceRoom, epoch uint64, what string, w *history.Window) (path string) {
	r.violations.Add(1)
	r.mu.Lock()
	r.written++
	path = filepath.Join(r.dir, fmt.Sprintf("%03d-%s-epoch-%d", r.written, in.name, epoch))
	r.mu.Unlock()
	line := fmt.Sprintf("\nVIOLATION in %s at epoch %d: %s\n", in.name, epoch, what)
	if w != nil {
		if err := writeJSON(path+".json", w); err != nil {
			r.trouble(err)
		}
		line += "  its history: " + path + ".json and .html\n"
	}
	_, _ = fmt.Fprint(r.out, line)
	return path
}

func writeJSON(path string, v any) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return fmt.Errorf("writing a history: %w", err)
	}
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return fmt.Errorf("writing a history: %w", err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		return fmt.Errorf("writing a history: %w", err)
	}
	return nil
}
