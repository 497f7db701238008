package sim

import (
	"errors"
	"time"

	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
)

// What controllers/fleet waits for.
const (
	renewEvery       = 3 * time.Second
	acknowledgeAfter = 50 * time.Millisecond
	retryEvery       = 250 * time.Millisecond
	lostAfter        = 1500 * time.Millisecond
	silence          = 5 * mediaapi.Heartbeat / 2
	confirmAfter     = time.Second
	repairAfter      = 5 * time.Second
	repairAgain      = time.Minute
	errandRetry      = 2 * time.Second
)

var (
	errSilent = errors.New("the watch went silent")
	errGap    = errors.New("events do not follow the replica")
)

// follower keeps the operator's replica of the room in one epoch. Keep it like
// controllers/fleet/follower.go, lease.go and errands.go.
type follower struct {
	*operator
	epoch uint64
	pod   string

	mirror   room.Replica
	watched  uint64
	live     bool
	refused  bool
	lostAt   time.Time
	released bool
	stopped  bool

	frames []mediaapi.Frame
	came   func() // wakes who waits for frames
	urgent bool
	hurry  func() // wakes renew
}

// followPod makes the operator follow a claim; one that is followed already stays.
func (o *operator) followPod(epoch uint64, pod string, state *room.State) {
	old := o.follower
	switch {
	case old != nil && old.epoch > epoch:
		return
	case old != nil && old.epoch == epoch && old.pod == pod && !old.stopped:
		if state != nil {
			old.learn(state)
		}
		return
	case old != nil:
		old.stopped = true
		if state == nil {
			state = old.mirror.State()
		}
	}
	n := &follower{operator: o, epoch: epoch, pod: pod, lostAt: o.now, came: func() {}, hurry: func() {}}
	if state != nil {
		n.mirror.Learn(state)
	}
	o.follower = n
	o.spawn(o.host, n.watch)
	o.spawn(o.host, n.renewAlways)
}

// lost says that the pod of this epoch needs a successor.
func (n *follower) lost() bool {
	return !n.live && (n.refused || n.now.Sub(n.lostAt) >= lostAfter)
}

func (n *follower) watch(p *process) {
	for !n.stopped {
		err := n.watchOnce(p)
		if n.stopped {
			break
		}
		if n.live {
			n.lostAt = n.now
			n.note(n.host.name, "lost the watch of %s at %d.%d: %v", n.pod, n.epoch, n.watched, err)
		}
		n.live, n.refused = false, errors.Is(err, errRefused)
		n.wake()
		n.after(lostAfter, n.wake)
		p.sleep(retryEvery)
	}
	n.live, n.lostAt = false, n.now
}

func (n *follower) watchOnce(p *process) error {
	n.frames = nil
	c := n.dial(p, n.pod)
	open := true
	defer func() { open = false }()
	_, err := podCall(c, silence, func(answer answer[none]) {
		answer(none{}, c.at.watch(n.epoch, n.watched, p.host, func(f mediaapi.Frame) {
			if open {
				n.frames = append(n.frames, f)
				n.came()
			}
		}))
	})
	if err != nil {
		return err
	}
	for !n.stopped {
		if len(n.frames) == 0 {
			n.came = p.waker()
			p.after(silence, n.came)
			p.wait()
		}
		if len(n.frames) == 0 {
			return errSilent
		}
		f := n.frames[0]
		n.frames = n.frames[1:]
		if err := n.take(f); err != nil {
			return err
		}
	}
	return nil
}

func (n *follower) take(f mediaapi.Frame) error {
	news := !n.live
	switch e := f.Event; {
	case f.Snapshot != nil:
		n.mirror.Begin(f.Snapshot.Clone())
		n.watched = f.Snapshot.Seq
	case e != nil:
		news = news || e.Room != nil
		event := *e
		event.More = e.More && n.mutation != halves
		if !n.mirror.Follow(event) {
			n.watched = 0
			return errGap
		}
		n.watched = e.Seq
	}
	n.live, n.refused = true, false
	if f.Snapshot != nil || f.Event != nil {
		n.check.followed(n)
	}
	n.errandsOf(f)
	if momentous(f) {
		n.urgent = true
		n.hurry()
	}
	switch {
	case news:
		n.wake()
	case f.Snapshot != nil || f.Event != nil:
		n.wakeAfter(summaryEvery)
	}
	return nil
}

// momentous says whether a pod should hear at once that a frame is held.
func momentous(f mediaapi.Frame) bool {
	e := f.Event
	return f.Snapshot != nil || e != nil && (e.Record != nil || e.Settings != nil || e.Room != nil || e.Type == room.EventLeft)
}

func (n *follower) learn(s *room.State) {
	n.mirror.Learn(s)
	n.wake()
}

// held is the last event of the epoch that the replica holds.
func (n *follower) held() uint64 {
	if state := n.mirror.State(); state != nil && state.Epoch == n.epoch {
		return state.Seq
	}
	return 0
}

// renewAlways keeps strangers welcome, and tells the pod what is held here.
func (n *follower) renewAlways(p *process) {
	for !n.stopped {
		_ = n.dial(p, n.pod).renew(mediaapi.LeaseRequest{Epoch: n.epoch, Seq: n.held()}) // the next one may come through
		due := n.now.Add(renewEvery)
		for !n.stopped && n.now.Before(due) && !n.urgent {
			n.hurry = p.waker()
			p.after(due.Sub(n.now), n.hurry)
			p.wait()
		}
		if n.urgent {
			p.sleep(acknowledgeAfter)
			n.urgent = false
		}
	}
}

// errandsOf are what a frame gives the operator to do: feedback that did not come, and
// lists that may differ.
func (n *follower) errandsOf(f mediaapi.Frame) {
	switch e := f.Event; {
	case f.Snapshot != nil:
		for _, m := range n.mirror.State().Members {
			if m.Status == room.Associated {
				n.errand(errand{session: m.Session}, confirmAfter)
			}
		}
		n.compareLists()
	case e == nil || e.Member == nil:
	case e.Type == room.EventLeft:
		n.compareLists()
	case e.Member.Status == room.Associated:
		n.errand(errand{session: e.Member.Session}, confirmAfter)
	}
}

func (n *follower) compareLists() {
	n.errand(errand{}, repairAfter)
	n.errand(errand{again: true}, repairAgain)
}
