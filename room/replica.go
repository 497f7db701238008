package room

// Replica is a copy of a room that is kept by its events. It only ever shows what the room
// was after a whole command: whoever may need it as a seed can do so at any moment. The
// zero value holds nothing. It is not safe for concurrent use.
type Replica struct {
	state   *State
	partial []Event // what has come of a command that is not whole yet
}

// State returns the copy, nil if there is none yet. It is the replica's, and changes with it.
func (r *Replica) State() *State { return r.state }

// Begin takes the snapshot that a stream of events begins with.
func (r *Replica) Begin(s *State) {
	r.partial = nil
	r.Learn(s)
}

// Learn takes a state that did not come with the stream, unless the replica is ahead of
// it in the same epoch. s is the replica's from then on.
func (r *Replica) Learn(s *State) {
	if old := r.state; old == nil || old.Epoch != s.Epoch || old.Seq <= s.Seq {
		r.state = s
	}
}

// Follow takes the next event of the stream; one that the state has already changes
// nothing. It is false if events are missing in between: the stream has to begin anew.
func (r *Replica) Follow(e Event) bool {
	if r.state == nil {
		return false
	}
	if e.Epoch == r.state.Epoch && e.Seq <= r.state.Seq {
		return true
	}
	last := r.state.Seq
	if i := len(r.partial) - 1; i >= 0 {
		last = max(last, r.partial[i].Seq)
	}
	if e.Epoch != r.state.Epoch || e.Seq != last+1 {
		r.partial = nil
		return false
	}
	r.partial = append(r.partial, e)
	if e.More {
		return true
	}
	for _, e := range r.partial {
		r.state.Apply(e) // not if it is known by now
	}
	r.partial = nil
	return true
}
