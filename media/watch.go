package media

import (
	"sync"

	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
)

// watchQueue is how many frames may wait for a watcher before a snapshot takes their place.
const watchQueue = 1024

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

// watch starts a watcher; its first frame is a snapshot.
func (k *keeper) watch(epoch uint64) (*watcher, error) {
	if err := k.atAny(epoch); err != nil {
		return nil, err
	}
	w := &watcher{ready: make(chan struct{}, 1)}
	w.replace(k.snapshotFrame())
	k.watchers[w] = struct{}{}
	return w, nil
}

func (k *keeper) unwatch(w *watcher) { delete(k.watchers, w) }

// pushWatchers shows events to the watchers.
func (k *keeper) pushWatchers(events []room.Event) {
	if len(events) == 0 || len(k.watchers) == 0 {
		return
	}
	frames := make([][]byte, len(events))
	for i := range events {
		frames[i] = line(mediaapi.Frame{Event: &events[i]})
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
