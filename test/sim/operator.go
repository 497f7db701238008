package sim

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"voiceroom.dev/voiceroom/admission"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
)

// What the leader election and controllers/voiceroom wait for.
const (
	leaseDuration = 15 * time.Second
	renewDeadline = 10 * time.Second
	leadEvery     = 2 * time.Second
	putTimeout    = 500 * time.Millisecond
	summaryEvery  = time.Second
	conflictRetry = 20 * time.Millisecond
	resync        = 5 * time.Second
	restart       = 3 * time.Second
)

// operator is one of its replicas; the one that leads claims pods for the room, follows
// them, and does what clients and gateways did not. Keep it like
// controllers/voiceroom/media.go.
type operator struct {
	*world
	host     *host
	cache    *cache
	desk     *admission.Desk
	follower *follower // nil: none yet
	dirty    bool
	waker    func()
	wakes    time.Time // the next time that was asked for; zero: none
	leads    time.Time // until then
	wrote    time.Time // a summary
	errands  []errand
	later    map[errand]time.Time // when they will be among the errands
	doErrand func()
}

// errand is something to look at: a session, or with none the room's lists.
type errand struct {
	session string
	again   bool // see repairAgain
}

func (o *operator) start() {
	o.host.start()
	o.follower, o.errands, o.later = nil, nil, map[errand]time.Time{}
	o.leads, o.wrote, o.wakes = time.Time{}, time.Time{}, time.Time{}
	o.waker, o.doErrand = func() {}, func() {}
	o.cache = o.cluster.follow(o.host, o.wake)
	o.desk = o.newDesk()
	o.spawn(o.host, o.elect)
	o.spawn(o.host, o.reconcileAlways)
	o.spawn(o.host, o.runErrands)
}

func (o *operator) stop(why string) {
	if !o.host.up {
		return
	}
	o.note(o.host.name, "stops: %s", why)
	o.cluster.unfollow(o.host)
	o.host.crash()
	o.after(restart, o.start)
}

// elect keeps the lease of the leader. Who cannot renew it in time exits.
func (o *operator) elect(p *process) {
	for {
		asked := o.now
		if o.cluster.lead(p, o.host.name) == nil {
			o.leads = asked.Add(renewDeadline)
			o.wake()
		}
		p.sleep(leadEvery)
		if !o.leads.IsZero() && !o.now.Before(o.leads) {
			o.after(0, func() { o.stop("it lost the lease") })
		}
	}
}

func (o *operator) reconcileAlways(p *process) {
	for {
		if !o.dirty {
			o.waker = p.waker()
			p.after(resync, o.waker)
			p.wait()
		}
		o.dirty = false
		if !o.leads.IsZero() {
			o.reconcile(p)
		}
	}
}

// wake makes the operator look at the room, soon.
func (o *operator) wake() {
	o.dirty = true
	o.waker()
}

// wakeAfter is wake after a while, unless it is to look sooner anyway.
func (o *operator) wakeAfter(d time.Duration) {
	due := o.now.Add(d)
	if !o.wakes.IsZero() && !due.Before(o.wakes) {
		return
	}
	o.wakes = due
	o.after(d, func() {
		o.host.do(func() {
			if o.wakes.Equal(due) {
				o.wakes = time.Time{}
				o.wake()
			}
		})
	})
}

func (o *operator) reconcile(p *process) {
	stored := o.cache.room
	vr := stored
	if n := o.follower; n != nil && n.live && n.mirror.State() != nil && n.epoch == vr.status.epoch && n.mirror.State().Epoch == n.epoch {
		summarize(&vr, n.mirror.State())
	}
	o.ensureMedia(p, &vr)
	o.writeStatus(p, stored, vr)
	o.sweep(p)
}

func (o *operator) ensureMedia(p *process, vr *voiceRoom) {
	s := &vr.status
	pod := o.claimedPod(*s)
	n := o.follower
	switch {
	case pod == nil || n != nil && n.epoch == s.epoch && n.lost():
		o.choose(vr)
	case !s.ready:
		o.handOver(p, vr, *pod)
	default:
		o.followPod(s.epoch, s.pod, nil)
		o.keep(p, vr)
	}
}

func (o *operator) claimedPod(s roomStatus) *podObject {
	pod := o.cache.pod(s.pod)
	if pod == nil || pod.deleting || pod.ended {
		return nil
	}
	found := *pod
	return &found
}

// choose claims another pod.
func (o *operator) choose(vr *voiceRoom) {
	if vr.status.pod != "" && o.follower != nil {
		o.follower.stopped = true
	}
	vr.status.pod, vr.status.ready = "", false
	for _, pod := range o.cache.pods {
		if !pod.bound && !pod.deleting && !pod.ended {
			vr.status.pod = pod.name
			vr.status.epoch++
			return
		}
	}
}

// handOver binds the pod and gives it the room.
func (o *operator) handOver(p *process, vr *voiceRoom, pod podObject) {
	s := &vr.status
	switch {
	case pod.bound && pod.epoch == s.epoch:
	default:
		if err := o.cluster.bindPod(p, pod.name, pod.version, s.epoch); err != nil {
			return // it changed under us: look again
		}
	}
	seed := o.seed(*vr)
	o.note(o.host.name, "hands epoch %d over to %s", s.epoch, pod.name)
	o.check.seeding(o, s.epoch)
	state, err := o.dial(p, pod.name).put(mediaapi.PutRequest{ID: o.id, Epoch: s.epoch, Spec: vr.spec, Seed: seed})
	if err != nil {
		o.choose(vr)
		return
	}
	o.followPod(s.epoch, s.pod, state)
	summarize(vr, state)
	s.ready = true
}

// seed is the last known state of the epoch before: the replica, or what the status says.
func (o *operator) seed(vr voiceRoom) *room.State {
	if n := o.follower; n != nil && n.mirror.State() != nil && n.mirror.State().Phase != room.Closed {
		seed := n.mirror.State().Clone()
		seed.EmptySince = nil
		if seed.Epoch+1 < vr.status.epoch {
			recall(seed, vr.status)
		}
		return seed
	}
	s := vr.status
	if s.started == nil {
		return nil
	}
	seed := room.New(o.id, max(s.epoch, 1)-1, vr.spec, nil, *s.started).State()
	seed.Phase, seed.ActivatedAt = room.Opened, s.started
	seed.Settings.Host = cmp.Or(s.host, seed.Settings.Host)
	recall(seed, s)
	return seed
}

// recall adds to a seed what the status remembers.
func recall(seed *room.State, s roomStatus) {
	if s.started != nil && seed.ActivatedAt == nil {
		seed.Phase, seed.ActivatedAt = room.Opened, s.started
	}
	for _, rec := range s.records {
		i, found := slices.BinarySearchFunc(seed.Records, rec, func(a, b room.Record) int { return cmp.Compare(a.Subject, b.Subject) })
		if found {
			seed.Records[i].Banned = seed.Records[i].Banned || rec.Banned
			seed.Records[i].Kicked = cmp.Or(rec.Kicked, seed.Records[i].Kicked)
			continue
		}
		seed.Records = slices.Insert(seed.Records, i, rec)
	}
}

// keep tells the pod a newer spec, and that the pods before it are dead.
func (o *operator) keep(p *process, vr *voiceRoom) {
	n, s := o.follower, &vr.status
	if !n.live || n.mirror.State() == nil || n.mirror.State().Epoch != s.epoch {
		return
	}
	if n.mirror.State().Settings.Generation < vr.spec.Generation {
		newer, err := o.dial(p, s.pod).put(mediaapi.PutRequest{ID: o.id, Epoch: s.epoch, Spec: vr.spec})
		if err != nil {
			return
		}
		n.learn(newer)
		summarize(vr, newer)
	}
	if s.epoch == 1 || n.released {
		return
	}
	for _, pod := range o.cache.pods {
		if pod.bound && pod.name != s.pod && !pod.ended && o.mutation != hasty {
			return // it may still forward calls
		}
	}
	if _, err := o.dial(p, s.pod).command(s.epoch, "", room.ReleaseHeld{}, false); err == nil {
		n.released = true
	}
}

func (o *operator) writeStatus(p *process, stored, vr voiceRoom) {
	was, is := stored.status, vr.status
	claim := was.pod != is.pod || was.epoch != is.epoch || was.ready != is.ready || was.started != is.started
	if !claim {
		if sameRecords(was.records, is.records) && was.host == is.host {
			return
		}
		if wait := summaryEvery - o.now.Sub(o.wrote); wait > 0 {
			o.wakeAfter(wait)
			return
		}
		o.wrote = o.now
	}
	if _, err := o.cluster.patchStatus(p, stored.version, is); errors.Is(err, errConflict) || err == nil {
		o.wakeAfter(conflictRetry)
	}
}

func sameRecords(a, b []room.Record) bool {
	return slices.EqualFunc(a, b, func(a, b room.Record) bool {
		return a.Subject == b.Subject && a.Banned == b.Banned && (a.Banned || a.Kicked.Equal(*b.Kicked))
	})
}

// summarize copies what a status keeps of a room.
func summarize(vr *voiceRoom, state *room.State) {
	s := &vr.status
	if state.ActivatedAt != nil && s.started == nil {
		s.started = state.ActivatedAt
	}
	s.host, s.records = state.Settings.Host, nil
	for _, r := range state.Records {
		switch {
		case r.Banned && !slices.Contains(vr.spec.Banned, r.Subject):
			s.records = append(s.records, room.Record{Subject: r.Subject, Banned: true})
		case r.Kicked != nil && !r.Banned:
			up := r.Kicked.Add(time.Second - time.Nanosecond).Truncate(time.Second)
			s.records = append(s.records, room.Record{Subject: r.Subject, Kicked: &up})
		}
	}
}

// sweep deletes the pods that the room does not claim any more.
func (o *operator) sweep(p *process) {
	for _, pod := range slices.Clone(o.cache.pods) {
		if !pod.bound || pod.deleting || pod.name == o.cache.room.status.pod {
			continue
		}
		now, err := o.cluster.live(p)
		if err != nil || now.status.pod == pod.name {
			continue
		}
		_, _ = call(p, o.network, o.cluster.host, apiTimeout, func(answer answer[none]) {
			o.cluster.setPod(pod.name, func(p *podObject) { p.deleting = true })
			o.kubeletKills(o.pods[pod.name])
			answer(none{}, nil)
		})
	}
}

// errand queues something to be done after a while, or when it is to be done anyway, if that
// is sooner: as a workqueue does.
func (o *operator) errand(e errand, d time.Duration) {
	due := o.now.Add(d)
	if at, ok := o.later[e]; ok && !due.Before(at) {
		return
	}
	o.later[e] = due
	o.after(d, func() {
		o.host.do(func() {
			if !o.later[e].Equal(due) {
				return
			}
			delete(o.later, e)
			if !slices.Contains(o.errands, e) {
				o.errands = append(o.errands, e)
				o.doErrand()
			}
		})
	})
}

func (o *operator) runErrands(p *process) {
	for {
		for len(o.errands) == 0 {
			o.doErrand = p.waker()
			p.wait()
		}
		e := o.errands[0]
		o.errands = o.errands[1:]
		if !o.runErrand(p, e) {
			o.errand(e, errandRetry)
		}
	}
}

// runErrand says whether the errand needs no further try.
func (o *operator) runErrand(p *process, e errand) bool {
	n := o.follower
	switch {
	case n == nil || n.stopped:
		return true // the snapshot of the next watch brings it again
	case n.mirror.State() == nil || !n.live:
		return false
	}
	r := o.admission(p, o.cache.room)
	r.Epoch, r.Pod = n.epoch, o.dial(p, n.pod)
	if e.session == "" {
		return o.desk.Repair(context.Background(), r, nil) == nil
	}
	if m, ok := n.mirror.State().Session(e.session); !ok || m.Status != room.Associated {
		return true
	}
	_, err := o.desk.Confirm(context.Background(), r, e.session)
	return err == nil || errors.Is(err, &admission.Error{Code: room.UnknownSession})
}
