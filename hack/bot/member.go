package bot

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"
)

const (
	// Between two attempts to come back: doubled each time, less up to half of it by chance.
	firstWait, longestWait = 50 * time.Millisecond, time.Second
	// attemptTime is how long one attempt may take.
	attemptTime = 3 * time.Second
	// retireTime is how long a connection that was left may go on: longer than any pod lets it.
	retireTime = 10 * time.Second
	// pulse is how often the pod's signs of life are looked at.
	pulse = 50 * time.Millisecond
	// recent is how young a frame is that proves that its pod lives, and headway how long the
	// audience of such a pod leaves the way to those on microphones.
	recent, headway = 100 * time.Millisecond, time.Second
)

// Member is a bot that keeps its place: when the room moves to another pod it connects there
// while the old connection stands, and when a connection is lost it comes back with its room
// token. Meanwhile it plays into all connections that it has, and hears from one at a time.
// Its methods may be called from any goroutine.
type Member struct {
	cfg     Config
	Entered Confirmed // as it came in first
	frames  chan Frame
	stop    context.CancelFunc
	running sync.WaitGroup
	ended   chan struct{}

	mu    sync.Mutex
	now   *Bot      // the newest that has entered
	bots  []*Bot    // that may have a connection, the newest last; never none
	ears  *Bot      // that is listened to
	heard time.Time // when somebody was last heard
	moves []Move
	err   error
}

// Move is one change from a connection to the next one.
type Move struct {
	From, To uint64 // epochs
	Why      string // moved, told (by the gateway), lost, silent (no heartbeat), or the code of a bye
	Noticed  time.Time
	Attempts int       // at coming in again
	Entered  time.Time // on the new connection
	// Last is when somebody was last heard on the old one, First when somebody was first heard on
	// the new one; both are zero until then, and Last stays zero if nobody had been heard before.
	Last, First time.Time
}

// Gap is how long nothing was heard, as far as somebody spoke all the time; false if nothing was
// heard before or since.
func (m Move) Gap() (time.Duration, bool) {
	return m.First.Sub(m.Last), !m.Last.IsZero() && !m.First.IsZero()
}

// Stay joins a room, as Join does, and stays in it until Close.
func Stay(ctx context.Context, cfg Config) (*Member, error) {
	m := &Member{frames: make(chan Frame, 4096), ended: make(chan struct{})}
	b := m.newBot(cfg)
	m.cfg, m.now, m.bots, m.ears = b.cfg, b, []*Bot{b}, b
	if err := enter(ctx, b); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	m.Entered = b.Entered
	ctx, m.stop = context.WithCancel(context.WithoutCancel(ctx))
	m.running.Go(func() {
		defer close(m.ended)
		m.stay(ctx, b)
	})
	return m, nil
}

func (m *Member) newBot(cfg Config) *Bot {
	b := New(cfg)
	b.hear = func(f Frame) { m.hear(b, f) }
	return b
}

// Frames are what is heard, from one connection at a time. They are dropped when nobody takes them.
func (m *Member) Frames() <-chan Frame { return m.frames }

// Moves are the changes of connection so far, the running one included.
func (m *Member) Moves() []Move {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.moves)
}

// Ended is closed when the member is out of the room for good; Err then says why.
func (m *Member) Ended() <-chan struct{} { return m.ended }

// Err is why the member is out of the room; nil while it is in, and after Close.
func (m *Member) Err() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.err
}

// Now is the newest connection on which it has entered. It changes.
func (m *Member) Now() *Bot {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

// Say sends one frame on every connection.
func (m *Member) Say(frame []byte) {
	m.mu.Lock()
	bots := slices.Clone(m.bots)
	m.mu.Unlock()
	for _, b := range bots {
		_ = b.Say(frame) // one that is lost is being replaced
	}
}

// Play sends frames in real time, until the last one or the end of ctx.
func (m *Member) Play(ctx context.Context, frames [][]byte) error {
	tick := time.NewTicker(FrameDuration)
	defer tick.Stop()
	for _, f := range frames {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		m.Say(f)
	}
	return nil
}

// Do gives one command over the newest data channel; see Bot.Do.
func (m *Member) Do(ctx context.Context, command string, body any) error {
	return m.Now().Do(ctx, command, body)
}

// Close ends the connections and waits for every goroutine. The place is given up only by Leave.
func (m *Member) Close() error {
	m.stop()
	m.running.Wait()
	m.mu.Lock()
	bots := m.bots
	m.mu.Unlock()
	var errs []error
	for _, b := range bots {
		errs = append(errs, b.Close())
	}
	return errors.Join(errs...)
}

// Leave gives the place up and closes.
func (m *Member) Leave(ctx context.Context) error {
	m.stop()
	m.running.Wait()
	return errors.Join(m.Now().Leave(ctx), m.Close())
}

// hear takes a frame of one of the connections. The newest one is listened to from when somebody is
// heard there.
func (m *Member) hear(b *Bot, f Frame) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if b != m.ears {
		if b != m.bots[len(m.bots)-1] || f.Member == 0 {
			return
		}
		m.ears = b
		move := &m.moves[len(m.moves)-1]
		move.Last, move.First = m.heard, f.At
	}
	if f.Member != 0 {
		m.heard = f.At
	}
	select {
	case m.frames <- f:
	default:
	}
}

// stay keeps the member in the room until ctx ends or there is no way back.
func (m *Member) stay(ctx context.Context, b *Bot) {
	for ctx.Err() == nil {
		why := m.remain(ctx, b)
		if ctx.Err() != nil {
			return
		}
		if final[why] {
			m.fail(fmt.Errorf("the pod said goodbye: %s", why))
			return
		}
		m.mu.Lock()
		m.moves = append(m.moves, Move{From: b.Grant.Epoch, Why: why, Noticed: time.Now()})
		m.mu.Unlock()
		next, err := m.comeBack(ctx, b)
		if err != nil {
			m.fail(err)
			return
		}
		if next == nil {
			return
		}
		if old := b; why == "moved" || why == "told" {
			m.running.Go(func() { m.retire(ctx, old) })
		} else {
			m.drop(old)
		}
		b = next
	}
}

// final are the byes after which there is nothing to come back to.
var final = map[string]bool{"left": true, "kicked": true, "banned": true, "replaced": true, "room-closed": true, "expired": true}

func (m *Member) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
}

// remain returns why the connection is to be left: a Move's Why.
func (m *Member) remain(ctx context.Context, b *Bot) string {
	ctx, stop := context.WithCancel(ctx)
	var listening sync.WaitGroup
	listening.Go(func() { b.watch(ctx) })
	defer func() { stop(); listening.Wait() }()
	look := time.NewTicker(pulse)
	defer look.Stop()
	var told time.Time
	for {
		select {
		case <-ctx.Done():
			return ""
		case <-b.down:
			return "lost"
		case n := <-b.news:
			switch n.kind {
			case "bye":
				return n.code
			case "told":
				told = time.Now()
			default:
				return n.kind
			}
		case now := <-look.C:
			if b.signs.late(now) {
				return "silent"
			}
			if !told.IsZero() && (now.Sub(told) >= headway || b.signs.onMic() || now.Sub(m.lastHeard()) > recent) {
				return "told"
			}
		}
	}
}

func (m *Member) lastHeard() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.heard
}

// comeBack tries to enter again until it has, or is refused for good. It is nil when ctx ended.
func (m *Member) comeBack(ctx context.Context, old *Bot) (*Bot, error) {
	again := m.cfg
	again.Credential, again.Invite = old.Grant.Token, ""
	for wait, attempts := firstWait, 1; ctx.Err() == nil; wait, attempts = pause(ctx, wait), attempts+1 {
		b := m.newBot(again)
		m.mu.Lock()
		m.bots = append(m.bots, b) // so that it is spoken into from the start
		m.moves[len(m.moves)-1].Attempts = attempts
		m.mu.Unlock()
		err := m.attempt(ctx, b)
		if err == nil {
			m.mu.Lock()
			move := &m.moves[len(m.moves)-1]
			move.To, move.Entered, m.now = b.Grant.Epoch, time.Now(), b
			m.mu.Unlock()
			return b, nil
		}
		m.drop(b)
		switch {
		case passing(err):
		case again != m.cfg: // no place is kept any more: come in as at first
			again = m.cfg
		default:
			return nil, err
		}
	}
	return nil, nil
}

func (m *Member) attempt(ctx context.Context, b *Bot) error {
	ctx, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	return enter(ctx, b)
}

// retire goes on with a connection that was left until the pod has said goodbye: whoever has not
// moved yet hears the member there.
func (m *Member) retire(ctx context.Context, b *Bot) {
	b.arrived()
	patience := time.NewTimer(retireTime)
	defer patience.Stop()
	for said := false; !said; {
		select {
		case n := <-b.news:
			said = n.kind == "bye"
		case <-b.down:
			said = true
		case <-patience.C:
			said = true
		case <-ctx.Done():
			return // Close closes it
		}
	}
	m.drop(b)
}

// drop closes a connection and forgets it.
func (m *Member) drop(b *Bot) {
	m.mu.Lock()
	m.bots = slices.DeleteFunc(slices.Clone(m.bots), func(o *Bot) bool { return o == b })
	m.mu.Unlock()
	_ = b.Close() // it is lost, or was told to go
}

// pause waits and returns how long to wait next time.
func pause(ctx context.Context, d time.Duration) time.Duration {
	timer := time.NewTimer(d - rand.N(d/2))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return min(2*d, longestWait)
}

// passing says that trying again can succeed.
func passing(err error) bool {
	refusal, ok := errors.AsType[*ProblemError](err)
	if !ok {
		return true // nobody answered, or the connection did not come to stand
	}
	switch refusal.Code {
	case "stale-epoch", "unknown-session", "not-associated", "token-replayed":
		return true
	}
	return refusal.Status >= http.StatusInternalServerError || refusal.Status == http.StatusTooManyRequests
}
