package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"syscall"
	"time"

	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/test/torture/history"
)

const (
	watchAgain = 5 * time.Millisecond // a pod that has no room yet, or whose watch broke
	forever    = int64(1<<63 - 1)
	// stale is how long after it was given up an operation whose answer was lost may still
	// be on its way to the room: a cut pod hears of it when it is cut off no more.
	stale = cutTime + cutMore + 10*time.Second
)

// errJump ends a watch whose events do not follow what was seen before.
var errJump = errors.New("the stream skipped an event")

// epoch is a room on one media pod, as the pod's own stream shows it and as callers were
// answered there. It reads the stream past every cut.
type epoch struct {
	room     *voiceRoom
	number   uint64
	pod, uid string
	endpoint string           // where operator and gateways reach the pod
	inside   *mediaapi.Client // of the pod's process itself
	first    *room.State      // nil until the stream was seen; guarded by the room, as is
	began    time.Time        // when it was

	mu      sync.Mutex
	grew    chan struct{}   // closed and made anew with each frame
	replica *room.State     // nil until the stream was seen
	ended   bool            // the pod's process is gone
	gone    map[string]bool // whose place was given up here
	cutAt   time.Time       // since when the pod is cut off; zero: it is not

	entered map[string]uint64 // since which version who has entered and is still here
	durable uint64            // the version as of which the room outlives the pod

	strangers struct{ first, last time.Time } // when somebody new was let in
	begin     history.Version
	stream    []frame
	ops       []history.Operation
	lost      []history.Operation
}

// frame is what came on the stream, with when it was asked for (of a snapshot) and seen.
type frame struct {
	mediaapi.Frame
	asked, seen int64
}

// follow reads the stream until the pod's process is gone, or ctx ends.
func (e *epoch) follow(ctx context.Context) {
	defer e.end()
	for ctx.Err() == nil {
		asked := time.Now().UnixNano()
		err := e.inside.Watch(ctx, 0, 0, func(f mediaapi.Frame) error { return e.take(f, asked) })
		if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, errOther) {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(watchAgain):
		}
	}
}

// errOther says that the pod has another epoch of the room.
var errOther = errors.New("another epoch")

func (e *epoch) end() {
	e.mu.Lock()
	e.ended = true
	e.wake()
	e.mu.Unlock()
	e.room.shape()
}

// wake tells who waits for the stream. Call it with the lock held.
func (e *epoch) wake() {
	close(e.grew)
	e.grew = make(chan struct{})
}

// take notes a frame and looks at what it says.
func (e *epoch) take(f mediaapi.Frame, asked int64) error {
	if f.Snapshot == nil && f.Event == nil {
		return nil
	}
	var wrong []string
	e.mu.Lock()
	before := e.replica
	switch {
	case f.Snapshot != nil && f.Snapshot.Epoch != e.number:
		e.mu.Unlock()
		return errOther
	case f.Snapshot != nil && before != nil && f.Snapshot.Seq == before.Seq:
		e.mu.Unlock()
		return nil // nothing was missed
	case f.Snapshot != nil:
		e.replica = f.Snapshot
	default:
		next := before.Clone()
		if !next.Apply(*f.Event) {
			e.mu.Unlock()
			return errJump
		}
		e.noteGone(before, f.Event)
		wrong = e.noteStranger(before, f.Event)
		e.replica = next
	}
	e.stream = append(e.stream, frame{f, asked, time.Now().UnixNano()})
	after := e.replica
	e.wake()
	e.mu.Unlock()
	for _, what := range append(wrong, audit(before, f, after)...) {
		e.room.world.report.violation(e.room, e.number, what, nil)
	}
	if f.Snapshot != nil {
		e.room.begins(e, after)
	}
	e.room.shape()
	return nil
}

// noteGone notes whose place was given up here, by a decision or after it had moved here.
// Call it with the lock held.
func (e *epoch) noteGone(before *room.State, event *room.Event) {
	m := event.Member
	switch event.Type {
	case room.EventMember:
		delete(e.gone, m.Subject)
		if m.Status == room.Entered && e.entered[m.Subject] == 0 {
			e.entered[m.Subject] = event.Seq
		}
	case room.EventLeft:
		delete(e.entered, m.Subject)
		was, _ := before.Member(m.ID)
		e.gone[m.Subject] = event.Reason != room.Expired || was.Status != room.Held
	}
}

// replicated notes as of which version the room outlives the pod; 0: as of none.
func (e *epoch) replicated(seq uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.durable = max(e.durable, seq); seq == 0 {
		e.durable = 0
	}
}

// settled are those who entered durably and are still here.
func (e *epoch) settled() (subjects []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for subject, since := range e.entered {
		if since <= e.durable {
			subjects = append(subjects, subject)
		}
	}
	return subjects
}

// noteStranger notes that somebody new was let in. Without a lease that is wrong. Call it
// with the lock held.
func (e *epoch) noteStranger(before *room.State, event *room.Event) []string {
	if event.Type != room.EventMember || event.Member.Status != room.Reserved {
		return nil
	}
	if _, had := before.Member(event.Member.ID); had {
		return nil
	}
	if e.strangers.first.IsZero() {
		e.strangers.first = event.Time
	}
	e.strangers.last = event.Time
	if lapsed := e.cutAt.Add(mediaapi.Lease); !e.cutAt.IsZero() && event.Time.After(lapsed) {
		return []string{fmt.Sprintf("%s was let in at %v by a pod that was cut off at %v", event.Member.Subject, event.Time, e.cutAt)}
	}
	return nil
}

// cutOff notes that the pod is cut off, or is no more.
func (e *epoch) cutOff(since time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.cutAt = since
}

// gave says whether a subject's place was given up here.
func (e *epoch) gave(subject string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.gone[subject]
}

// state is the newest known one, nil if there is none; it is not to be changed.
func (e *epoch) state() (s *room.State, ended bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.replica, e.ended
}

// note adds an operation to the window.
func (e *epoch) note(o history.Operation, gone bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if gone {
		e.lost = append(e.lost, o)
		return
	}
	e.ops = append(e.ops, o)
}

// catchUp waits until the stream is at what the pod says now. It is false if the pod
// does not say.
func (e *epoch) catchUp(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	now, err := e.inside.Get(ctx, e.number)
	if err != nil {
		return false
	}
	for {
		e.mu.Lock()
		seen, grew := e.replica, e.grew
		e.mu.Unlock()
		if seen != nil && seen.Seq >= now.Seq {
			return true
		}
		select {
		case <-grew:
		case <-ctx.Done():
			return false
		}
	}
}

// cut ends the window and begins the next one. Nobody may be calling.
func (e *epoch) cut() *history.Window {
	e.mu.Lock()
	defer e.mu.Unlock()
	w := &history.Window{Room: e.room.name, Epoch: e.number, Subjects: e.room.subjects, Operations: e.ops, Lost: slices.Clone(e.lost),
		Versions: versions(e.begin, e.stream)}
	now := time.Now().UnixNano()
	if e.ended {
		last := w.Versions[len(w.Versions)-1]
		w.Versions = append(w.Versions, history.Version{From: last.From, Until: forever})
	}
	e.begin = history.Version{State: e.replica, From: now, Until: now}
	if e.ended {
		e.begin.State = nil
	}
	e.ops, e.stream = nil, nil
	e.lost = slices.DeleteFunc(e.lost, func(o history.Operation) bool { return o.Return < now-stale.Nanoseconds() })
	return w
}

// versions are the states between which the stream moved. Events of one command have
// one time; what time did before that command, a version of its own.
func versions(begin history.Version, stream []frame) []history.Version {
	all := []history.Version{begin}
	state := begin.State
	var last *room.Event
	for _, f := range stream {
		now := &all[len(all)-1]
		if f.Snapshot != nil {
			if state != nil { // a gap
				all = append(all, history.Version{From: now.From, Until: f.seen})
			}
			state, last = f.Snapshot, nil
			all = append(all, history.Version{State: state, From: f.asked, Until: f.seen})
			continue
		}
		state = state.Clone()
		state.Apply(*f.Event)
		at := f.Event.Time.UnixNano()
		if last == nil || !last.Time.Equal(f.Event.Time) || last.Reason == room.Expired {
			now.Until = max(min(now.Until, at), now.From)
			all = append(all, history.Version{From: at, Until: f.seen})
			now = &all[len(all)-1]
		}
		now.State, last = state, f.Event
		if f.Event.Type == room.EventLeft {
			now.Left = maps.Clone(now.Left)
			if now.Left == nil {
				now.Left = map[string]room.Code{}
			}
			now.Left[f.Event.Member.Subject] = f.Event.Reason
		}
	}
	return all
}
