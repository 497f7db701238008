package devnode

import (
	"bytes"
	"io"
	"sync"
)

// outputMux writes the lines of many pods to one writer, each whole.
type outputMux struct {
	mu sync.Mutex
	w  io.Writer
}

func (m *outputMux) line(prefix string, line []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	// A writer that fails loses output; the pods go on.
	_, _ = m.w.Write(append(append([]byte(prefix), line...), '\n'))
}

// podOutput is one pod's stdout or stderr. It is used by one goroutine at a time.
type podOutput struct {
	mux    *outputMux
	prefix string
	rest   []byte // an unfinished line
	last   []byte // the end of all finished lines, at most lastWords long
}

// lastWords is how much of a failed container's output its termination message may hold, as on kubelet.
const lastWords = 2 << 10

// longestLine is where a line is cut, so that a pod that prints none cannot fill the memory.
const longestLine = 16 << 10

func (o *podOutput) Write(p []byte) (int, error) {
	written := len(p)
	for len(p) > 0 {
		line, rest, found := bytes.Cut(p, []byte{'\n'})
		o.rest = append(o.rest, line...)
		p = rest
		if found || len(o.rest) > longestLine {
			o.flush()
		}
	}
	return written, nil
}

// flush writes an unfinished line as one.
func (o *podOutput) flush() {
	o.mux.line(o.prefix, o.rest)
	o.last = append(append(o.last, o.rest...), '\n')
	o.last = o.last[max(0, len(o.last)-lastWords):]
	o.rest = o.rest[:0]
}

// flushRest writes what is left when the pod has ended.
func (o *podOutput) flushRest() {
	if len(o.rest) > 0 {
		o.flush()
	}
}
