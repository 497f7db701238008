package media

import (
	"sync"

	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
)

const (
	// watchQueue is how many frames may wait for a watcher before a snapshot takes their place.
	watchQueue = 1024

	// historyEvents and historyBytes bound what is kept for watchers that come back. An event
	// has a few hundred bytes; one of the settings of a room with long lists has many KiB.
	historyEvents = watchQueue
	historyBytes  = 1 << 20
)

// watcher is one stream of the room's states to the control plane. The keeper
// pushes frames; the handler of the request takes them.
type watcher struct {
	ready chan struct{} // of capacity 1: there are frames

	mu     sync.Mutex
	frames [][]byte // lines
}

func (w *watcher) push(frames [][]byte) {
	w.mu.Lock()
	w.frames = append(w.frames, frames...)
	w.mu.Unlock()
	w.wake()
}

// replace drops what waits for a snapshot.
func (w *watcher) replace(snapshot []byte) {
	w.mu.Lock()
	w.frames = [][]byte{snapshot}
	w.mu.Unlock()
	w.wake()
}

func (w *watcher) wake() {
	select {
	case w.ready <- struct{}{}:
	default:
	}
}

func (w *watcher) take() [][]byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	frames := w.frames
	w.frames = nil
	return frames
}

func (w *watcher) waiting() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.frames)
}

// history is the frames of the newest events of an epoch, without a gap.
type history struct {
	last   uint64 // sequence number of the newest
	frames [][]byte
	bytes  int
}

// add takes the frame of the next event, and forgets what is too old.
func (h *history) add(seq uint64, frame []byte) {
	h.last = seq
	h.frames = append(h.frames, frame)
	h.bytes += len(frame)
	for len(h.frames) > historyEvents || h.bytes > historyBytes {
		h.bytes -= len(h.frames[0])
		h.frames[0] = nil // append moves the rest to new memory from time to time
		h.frames = h.frames[1:]
	}
}

// since returns the frames after an event; false if some of them are not there any more.
func (h *history) since(seq uint64) ([][]byte, bool) {
	missed := h.last - seq
	if seq > h.last || missed > uint64(len(h.frames)) {
		return nil, false
	}
	return h.frames[uint64(len(h.frames))-missed:], true
}

// watch starts a watcher. It goes on after an event of this epoch that the watcher has;
// 0, or one that is too old, begins with a snapshot.
func (k *keeper) watch(epoch, after uint64) (*watcher, error) {
	if err := k.atAny(epoch); err != nil {
		return nil, err
	}
	w := &watcher{ready: make(chan struct{}, 1)}
	missed, ok := k.history.since(after)
	switch {
	case epoch == 0 || after == 0 || !ok:
		w.replace(k.snapshotFrame())
	case len(missed) == 0:
		w.replace(line(mediaapi.Frame{})) // says that it goes on
	default:
		w.push(missed)
	}
	k.watchers[w] = struct{}{}
	return w, nil
}

func (k *keeper) unwatch(w *watcher) { delete(k.watchers, w) }

// pushWatchers shows events to the watchers, and keeps them for those that come back.
func (k *keeper) pushWatchers(events []room.Event) {
	if len(events) == 0 {
		return
	}
	frames := make([][]byte, len(events))
	for i := range events {
		frames[i] = line(mediaapi.Frame{Event: &events[i]})
		k.history.add(events[i].Seq, frames[i])
	}
	for w := range k.watchers {
		if w.waiting()+len(frames) > watchQueue {
			w.replace(k.snapshotFrame())
			k.metrics.dropped("frames")
			continue
		}
		w.push(frames)
	}
}

// snapshotWatchers shows the whole room to the watchers.
func (k *keeper) snapshotWatchers() {
	for w := range k.watchers {
		w.replace(k.snapshotFrame())
	}
}

func (k *keeper) snapshotFrame() []byte { return line(mediaapi.Frame{Snapshot: k.room.View()}) }

func line(f mediaapi.Frame) []byte { return append(marshal(f), '\n') }
