package room

import (
	"container/heap"
	"slices"
	"time"
)

// deadline is a moment at which time may change the room. It stands as long as what it is
// of has it.
type deadline struct {
	at     time.Time
	member uint32 // of it, or of the session that is to take it over
	mic    int    // of the microphone at this index, if there is no member
	link   string // of this link's uses
}

// deadlines are a heap, the earliest first. One that does not stand any more is left in it
// until it is the earliest: no command pays for all members.
type deadlines []deadline

func (d deadlines) Len() int           { return len(d) }
func (d deadlines) Less(i, j int) bool { return d[i].at.Before(d[j].at) }
func (d deadlines) Swap(i, j int)      { d[i], d[j] = d[j], d[i] }
func (d *deadlines) Push(x any)        { *d = append(*d, x.(deadline)) }
func (d *deadlines) Pop() any {
	last := len(*d) - 1
	x := (*d)[last]
	*d = (*d)[:last]
	return x
}

// expect adds a deadline, if there is one and it was not there before.
func (r *Room) expect(at, was *time.Time, d deadline) {
	if at != nil && at != was {
		d.at = *at
		heap.Push(&r.deadlines, d)
	}
}

// spareDeadlines is how many may have fallen before it is worth to look for them.
const spareDeadlines = 1024

// trimDeadlines drops those that do not stand any more once they are most of all that there
// are: what is raised and lowered again and again leaves one behind each time.
func (r *Room) trimDeadlines() {
	s := &r.state
	if len(r.deadlines) <= spareDeadlines+8*(len(s.Members)+len(s.Mics)+len(s.Invites)) {
		return
	}
	r.deadlines = nil
	r.expectState()
	for member, j := range r.rejoining {
		r.expect(&j.deadline, nil, deadline{member: member})
	}
}

// expectMember adds the deadlines of a member that it did not have before.
func (r *Room) expectMember(m *Member, was Member) {
	of := deadline{member: m.ID}
	r.expect(m.Deadline, was.Deadline, of)
	r.expect(m.AskedUntil, was.AskedUntil, of)
	if m.Hand != nil && m.Hand != was.Hand {
		r.expect(&m.Hand.Until, nil, of)
	}
}

// expectEvent adds the deadlines that an event, which is about to be applied, brings.
func (r *Room) expectEvent(e Event) {
	switch e.Type {
	case EventMember:
		was, _ := r.state.Member(e.Member.ID)
		r.expectMember(e.Member, was)
	case EventMic:
		was, _ := r.at(e.Mic.Index)
		r.expect(e.Mic.Until, was.Until, deadline{mic: e.Mic.Index})
	case EventInvite:
		r.expect(&e.Invite.Until, nil, deadline{link: e.Invite.ID})
	}
}

// expectState adds all deadlines of a state that came about without events.
func (r *Room) expectState() {
	s := &r.state
	for i := range s.Members {
		r.expectMember(&s.Members[i], Member{})
	}
	for i := range s.Mics {
		r.expect(s.Mics[i].Until, nil, deadline{mic: s.Mics[i].Index})
	}
	for i := range s.Invites {
		r.expect(&s.Invites[i].Until, nil, deadline{link: s.Invites[i].ID})
	}
}

// due takes the deadlines until now, and says what they are of, in order. Some do not stand
// any more, and one thing may be named more than once.
func (r *Room) due(now time.Time) (members []uint32, mics []int, links []string) {
	for len(r.deadlines) > 0 && !now.Before(r.deadlines[0].at) {
		switch d := heap.Pop(&r.deadlines).(deadline); {
		case d.link != "":
			links = append(links, d.link)
		case d.member != 0:
			members = append(members, d.member)
		default:
			mics = append(mics, d.mic)
		}
	}
	slices.Sort(members)
	slices.Sort(mics)
	slices.Sort(links)
	return members, mics, links
}

// stands says whether time changes something at the deadline.
func (r *Room) stands(d deadline) bool {
	is := func(t *time.Time) bool { return t != nil && t.Equal(d.at) }
	switch {
	case d.link != "":
		u, ok := r.state.invite(d.link)
		return ok && u.Until.Equal(d.at)
	case d.member == 0:
		mic, _ := r.at(d.mic)
		return is(mic.Until)
	}
	if j, ok := r.rejoining[d.member]; ok && j.deadline.Equal(d.at) {
		return true
	}
	m, _ := r.state.Member(d.member)
	return is(m.Deadline) || is(m.AskedUntil) || m.Hand != nil && m.Hand.Until.Equal(d.at)
}
