package gateway

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"voiceroom.dev/voiceroom/chat"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
)

const (
	retryFirst = 250 * time.Millisecond
	retryMost  = 4 * time.Second
	// baseTimeout is how long streams wait to learn where a group's messages are.
	baseTimeout = 3 * time.Second
	// blindMost is how long streams go on while the room's pod cannot be heard: a new pod
	// takes less, and somebody may have been thrown out since.
	blindMost = 15 * time.Second
)

var errGap = errors.New("an event of the watch is missing")

// follower watches one room for all its streams on this gateway: the group's
// messages, and who has left.
type follower struct {
	g               *Gateway
	uid             string
	namespace, name string
	stop            context.CancelFunc

	chatOnce  sync.Once
	chatKnown chan struct{} // closed once chat was asked where its messages are

	mu        sync.Mutex
	listeners map[string]*listener // by session
	state     *room.State          // newest replica; nil: none yet
}

func newFollower(g *Gateway, p place, stop context.CancelFunc) *follower {
	return &follower{g: g, uid: p.ID.UID, namespace: p.ID.Namespace, name: p.ID.Name, stop: stop,
		chatKnown: make(chan struct{}), listeners: map[string]*listener{}}
}

// run follows until stop ends ctx.
func (f *follower) run(ctx context.Context) {
	var chatting sync.WaitGroup
	chatting.Go(func() { f.followChat(ctx) })
	f.followPod(ctx)
	chatting.Wait()
}

// add takes in a stream; an older one of the same session ends.
func (f *follower) add(l *listener) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.end(f.listeners[l.session])
	f.listeners[l.session] = l
}

// remove takes out a stream and returns how many are left.
func (f *follower) remove(l *listener) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.end(l)
	return len(f.listeners)
}

// end closes a stream once; f.mu is held. What is queued is still written.
func (f *follower) end(l *listener) {
	if l != nil && f.listeners[l.session] == l {
		delete(f.listeners, l.session)
		close(l.events)
	}
}

// endAll sends the last events to all streams and ends them.
func (f *follower) endAll(last ...event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range f.listeners {
		for _, e := range last {
			f.send(l, e)
		}
		f.end(l)
	}
}

// movedTo ends the streams of earlier epochs: their sessions are not in this one.
func (f *follower) movedTo(epoch uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range f.listeners {
		if l.epoch < epoch {
			f.send(l, eventOf("moved", 0, moved{Epoch: epoch}))
			f.end(l)
		}
	}
}

// send queues an event; a client that is too far behind is cut. f.mu is held.
func (f *follower) send(l *listener, e event) {
	if f.listeners[l.session] != l {
		return
	}
	select {
	case l.events <- e:
	default:
		f.g.metrics.cut.Inc()
		f.end(l)
	}
}

func (f *follower) broadcast(e event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range f.listeners {
		f.send(l, e)
	}
}

// trust notes the version of the room at which the stream's session had entered. A replica
// that is older says nothing about it.
func (f *follower) trust(l *listener, seq uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	l.seq = seq
	f.endIfGone(l)
}

// endIfGone ends the stream of a session that the replica no longer knows. f.mu is held.
func (f *follower) endIfGone(l *listener) {
	if f.state == nil || l.seq == 0 || f.state.Epoch != l.epoch || f.state.Seq < l.seq {
		return
	}
	if _, ok := f.state.Session(l.session); !ok {
		f.end(l)
	}
}

// followPod keeps the replica. Streams end when nobody can say for long who is in the room.
func (f *follower) followPod(ctx context.Context) {
	wait, heard := retryFirst, f.g.now()
	for ctx.Err() == nil {
		p, err := f.g.located(ctx, f.namespace, f.name)
		if err == nil && p.ID.UID == f.uid {
			// However the watch ends, the room's resource says where to look next.
			_ = p.pod.Watch(ctx, p.Epoch, 0, func(frame mediaapi.Frame) error {
				wait, heard = retryFirst, f.g.now()
				return f.take(frame)
			})
		} else if gone(err) {
			f.endAll(eventOf("closed", 0, struct{}{}))
		}
		if f.g.now().Sub(heard) > blindMost {
			f.endAll()
		}
		wait = pause(ctx, wait)
	}
}

// gone says that a room is over.
func gone(err error) bool {
	if err == nil {
		return true // another room of the same name
	}
	r, ok := errors.AsType[*refusal](err)
	return ok && (r.status == http.StatusGone || r.code == codeUnknownRoom)
}

// pause waits and returns how long to wait next time.
func pause(ctx context.Context, d time.Duration) time.Duration {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return min(2*d, retryMost)
}

// take brings the replica up to date with a frame of the watch.
func (f *follower) take(frame mediaapi.Frame) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case frame.Snapshot != nil:
		f.state = frame.Snapshot
		for _, l := range f.listeners {
			if f.state.Phase != room.Closed { // else it is told so
				f.endIfGone(l)
			}
		}
	case frame.Event != nil:
		if f.state == nil || !f.state.Apply(*frame.Event) {
			return errGap
		}
		// Who left, and whose session was taken over: one at a time is cheap.
		if frame.Event.Member != nil {
			f.endOthers(*frame.Event.Member, frame.Event.Type == room.EventLeft)
		}
	}
	if f.state != nil && f.state.Phase == room.Closed {
		for _, l := range f.listeners {
			f.send(l, eventOf("closed", 0, struct{}{}))
			f.end(l)
		}
	}
	return nil
}

// endOthers ends the streams that an event about a member leaves without a session.
func (f *follower) endOthers(m room.Member, left bool) {
	if left {
		if l := f.listeners[m.Session]; l != nil {
			f.endIfGone(l)
		}
		return
	}
	if m.Status != room.Entered && m.Session != "" { // one whose key was revoked has none
		return
	}
	for _, l := range f.listeners {
		if l.session != m.Session && l.subject == m.Subject {
			f.endIfGone(l)
		}
	}
}

// followChat passes on the group's messages.
func (f *follower) followChat(ctx context.Context) {
	defer f.knowChat()
	wait, tries := retryFirst, 0
	var base feedBase
	for ctx.Err() == nil {
		heard := base.after
		err := f.listen(ctx, &base, tries > 0)
		f.knowChat()
		if errors.Is(err, chat.ErrNotFound) {
			return // the group was dissolved, and the room ends with it
		}
		if base.after != heard {
			wait = retryFirst
		}
		wait, tries = pause(ctx, wait), tries+1
	}
}

// feedBase is from where on messages are passed on.
type feedBase struct {
	known bool
	after uint64
}

// listen passes on messages until chat is lost. late says that streams are open
// already: what was said meanwhile is sent to them too.
func (f *follower) listen(ctx context.Context, base *feedBase, late bool) error {
	vr, err := f.g.voiceRoom(ctx, f.namespace, f.name)
	if err != nil {
		return err
	}
	provider, err := f.g.provider(ctx, vr)
	if err != nil {
		return err
	}
	can, group := provider.Capabilities(), vr.Status.GroupID
	if !base.known && can.History {
		if err := f.findBase(ctx, provider, group, base, late); err != nil {
			return err
		}
	}
	base.known = true
	f.knowChat()
	if !can.Subscribe {
		<-ctx.Done()
		return nil
	}
	return provider.Subscribe(ctx, group, base.after, func(m chat.Message) {
		base.after = m.Seq
		f.broadcast(messageEvent(m))
	})
}

func (f *follower) findBase(ctx context.Context, provider chat.Provider, group string, base *feedBase, late bool) error {
	ctx, cancel := context.WithTimeout(ctx, baseTimeout)
	defer cancel()
	newest := 1
	if late {
		newest = historyMost
	}
	said, err := provider.History(ctx, group, 0, newest)
	if err != nil {
		return err
	}
	for _, m := range said {
		base.after = m.Seq
		if late {
			f.broadcast(messageEvent(m))
		}
	}
	return nil
}

func (f *follower) knowChat() { f.chatOnce.Do(func() { close(f.chatKnown) }) }

// waitChat returns when every message that is posted from now on reaches the
// room's streams, or when chat cannot be reached.
func (f *follower) waitChat(ctx context.Context) error {
	select {
	case <-f.chatKnown:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
