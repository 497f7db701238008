package lossy

import (
	"container/heap"
	"sync"
	"time"
)

// maxHeld bounds what one line holds: seconds of audio for hundreds of clients. Beyond it datagrams are lost, as in any queue.
const maxHeld = 1 << 16

// line delivers datagrams when they are due, in one goroutine.
type line struct {
	mu      sync.Mutex
	held    queue
	taken   uint64 // datagrams so far: of two that are due at once the earlier goes first
	stopped bool

	wake chan struct{} // of capacity 1: the next is another
	done chan struct{}
}

// datagram is one that is on its way.
type datagram struct {
	due     time.Time
	order   uint64
	packet  []byte
	deliver func([]byte)
}

// queue is a heap by due, then order.
type queue []datagram

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	if q[i].due.Equal(q[j].due) {
		return q[i].order < q[j].order
	}
	return q[i].due.Before(q[j].due)
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(datagram)) }
func (q *queue) Pop() any {
	old := *q
	last := old[len(old)-1]
	old[len(old)-1] = datagram{}
	*q = old[:len(old)-1]
	return last
}

func newLine() *line {
	l := &line{wake: make(chan struct{}, 1), done: make(chan struct{})}
	go l.run()
	return l
}

// put hands over a datagram; the line keeps packet. It is false when there are too many.
func (l *line) put(due time.Time, packet []byte, deliver func([]byte)) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped || len(l.held) == maxHeld {
		return false
	}
	heap.Push(&l.held, datagram{due, l.taken, packet, deliver})
	l.taken++
	if l.held[0].order == l.taken-1 {
		l.poke()
	}
	return true
}

func (l *line) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// run delivers until stop.
func (l *line) run() {
	defer close(l.done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		d, wait, ok := l.next(time.Now())
		switch {
		case ok:
			d.deliver(d.packet)
			continue
		case wait < 0:
			return
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-l.wake:
		}
	}
}

// next takes the datagram that is due, or says how long there is none; that is negative once the line was stopped.
func (l *line) next(now time.Time) (datagram, time.Duration, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.stopped:
		return datagram{}, -1, false
	case len(l.held) == 0:
		return datagram{}, time.Hour, false // put wakes it
	}
	if wait := l.held[0].due.Sub(now); wait > 0 {
		return datagram{}, wait, false
	}
	return heap.Pop(&l.held).(datagram), 0, true
}

// stop drops what is held and waits for the goroutine.
func (l *line) stop() {
	l.mu.Lock()
	l.stopped, l.held = true, nil
	l.mu.Unlock()
	l.poke()
	<-l.done
}
