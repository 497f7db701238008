package room_test

import (
	"slices"
	"time"

	"voiceroom.dev/voiceroom/room"
)

// model is the room once more, as its documentation tells it and in another shape: no
// events, no indexes, no versions; a person is one value with everything about it, whether
// it is in the room or not. It says of a command for which reasons it must be refused, and
// what the room looks like after it. Where several reasons hold, the room may name any.
// Its rules are in model_entry_test.go (the way in), model_rules_test.go (members and
// moderators) and model_intent_test.go (settings and the operator).
type model struct {
	now    time.Time
	step   int // of the running command
	epoch  uint64
	people map[string]*person // by subject, everybody ever heard of
	uses   map[string]use     // of links, by ID
	spec   room.Spec          // the newest intent
	choice room.Spec          // what holds now; Moderators too
	host   string
	locked map[int]bool

	sealed, closed   bool
	reason, message  string
	lease, strangers time.Time

	// These are zero where they have not happened.
	activated, empty, hostGone, reset time.Time

	last uint32 // number of a member
}

type person struct {
	subject                          string
	kicked                           time.Time // zero: not
	banned, muted, chatMuted, pulled bool
	counted                          bool   // it left, which is not durable yet
	knownAs                          string // name and number at last, while something is remembered
	known                            uint32
	*place                           // nil: it is not in the room
}

// remembered says whether there is a record of it.
func (p *person) remembered() bool {
	return !p.kicked.IsZero() || p.banned || p.muted || p.chatMuted || p.pulled
}

func (p *person) out() bool { return !p.kicked.IsZero() || p.banned }

// place is a member's.
type place struct {
	number   uint32
	name     string
	role     room.Role
	status   room.Status
	session  string
	until    time.Time // zero: it has no end
	entered  time.Time
	keys     []string
	origin   string // of a guest
	link     string // with counted uses
	next     *rejoin
	hand     *room.Hand
	asked    time.Time
	priority bool
	mic      *mic
}

func (p *place) inside() bool {
	return p.status == room.Entered || p.status == room.Away || p.status == room.Held
}

// rejoin is a session that takes the place over when it is associated.
type rejoin struct {
	session string
	until   time.Time
	opened  bool
	name    string
	keys    []string
}

type mic struct {
	index int
	muted bool
	until time.Time
	since int // the step that granted it
}

type use struct {
	n     int
	until time.Time
}

// reasons are those for which a command is to be refused.
type reasons []room.Code

func (r *reasons) when(holds bool, c room.Code) {
	if holds {
		*r = append(*r, c)
	}
}

func newModel(spec room.Spec, now time.Time) *model {
	m := &model{now: now, epoch: 1, people: map[string]*person{}, uses: map[string]use{}, locked: map[int]bool{},
		spec: spec, choice: spec, host: spec.Owner}
	m.choice.Moderators = slices.Clone(spec.Moderators)
	for _, subject := range spec.Banned {
		m.person(subject).banned = true
	}
	return m
}

func (m *model) person(subject string) *person {
	if m.people[subject] == nil {
		m.people[subject] = &person{subject: subject}
	}
	return m.people[subject]
}

// members are the people in the room, by number.
func (m *model) members() []*person {
	var in []*person
	for _, p := range m.people {
		if p.place != nil {
			in = append(in, p)
		}
	}
	slices.SortFunc(in, func(a, b *person) int { return int(a.number) - int(b.number) })
	return in
}

func (m *model) bySession(session string) *person {
	for _, p := range m.people {
		if p.place != nil && session != "" && (p.session == session || p.next != nil && p.next.session == session) {
			return p
		}
	}
	return nil
}

func (m *model) byNumber(number uint32) *person {
	for _, p := range m.people {
		if p.place != nil && p.number == number {
			return p
		}
	}
	return nil
}

func (m *model) onMic(index int) *person {
	for _, p := range m.people {
		if p.place != nil && p.mic != nil && p.mic.index == index {
			return p
		}
	}
	return nil
}

func (m *model) mics() (n int) {
	for _, p := range m.members() {
		if p.mic != nil {
			n++
		}
	}
	return n
}

// do lets time pass and then gives a command. It returns why the room must refuse it.
func (m *model) do(now time.Time, by room.Actor, c room.Command) reasons {
	m.now = now
	m.step++
	if !m.closed {
		m.pass()
		m.settle()
	}
	why, effect := m.judge(by, c)
	if len(why) == 0 {
		effect()
	}
	m.settle()
	return why
}

func (m *model) over(t time.Time) bool { return !t.IsZero() && !m.now.Before(t) }

// pass does what time alone does.
func (m *model) pass() {
	for _, p := range m.members() {
		if p.next != nil && m.over(p.next.until) {
			p.next = nil
		}
		if m.over(p.until) {
			m.leave(p)
			continue
		}
		if m.over(p.asked) {
			p.asked = time.Time{}
		}
		if p.hand != nil && m.over(p.hand.Until) {
			p.hand = nil
		}
		if p.mic != nil && m.over(p.mic.until) {
			p.mic = nil
		}
	}
	for id, u := range m.uses {
		if m.over(u.until) {
			delete(m.uses, id)
		}
	}
}

// leave ends a membership. Who never entered has not used its link.
func (m *model) leave(p *person) {
	if u, counted := m.uses[p.link]; counted && p.entered.IsZero() {
		if u.n--; u.n == 0 {
			delete(m.uses, p.link)
		} else {
			m.uses[p.link] = u
		}
	}
	p.counted = p.counted || p.inside()
	p.place = nil
}

// settle keeps what follows from who is here: since when the room is empty, since when
// its host is gone, who comes after it; and what is known of who is remembered.
func (m *model) settle() {
	for _, p := range m.people {
		switch {
		case !p.remembered():
			p.knownAs, p.known = "", 0
		case p.place != nil:
			p.knownAs, p.known = p.name, p.number
		}
	}
	switch isEmpty := len(m.members()) == 0 && !m.activated.IsZero() && !m.closed; {
	case !isEmpty:
		m.empty = time.Time{}
	case m.empty.IsZero():
		m.empty = m.now
	}
	if m.phase() != room.Opened || m.activated.IsZero() {
		return
	}
	here := slices.ContainsFunc(m.members(), func(p *person) bool { return p.role == room.Host && p.status == room.Entered })
	switch {
	case here:
		m.hostGone = time.Time{}
	case m.hostGone.IsZero():
		m.hostGone = m.now
	case m.over(m.hostGone.Add(room.HostGrace)):
		m.succeed()
	}
}

// succeed makes the longest present co-host the host, else speaker.
func (m *model) succeed() {
	for _, role := range []room.Role{room.CoHost, room.Speaker} {
		var first *person
		for _, p := range m.members() {
			if p.role == role && p.status == room.Entered && (first == nil || p.entered.Before(first.entered)) {
				first = p
			}
		}
		if first != nil {
			m.crown(first)
			return
		}
	}
}

// crown makes somebody the host. Who was it is a co-host, now or when it comes back, unless
// it may not come back.
func (m *model) crown(p *person) {
	old := m.person(m.host)
	if old.place != nil {
		m.setRole(old, room.CoHost)
	}
	if !old.out() && old.subject != m.choice.Owner {
		m.list(old.subject, true)
	}
	m.host, m.hostGone = p.subject, time.Time{}
	m.setRole(p, room.Host)
}

// list makes a subject come in as a co-host, or not.
func (m *model) list(subject string, listed bool) {
	m.choice.Moderators = slices.DeleteFunc(m.choice.Moderators, func(s string) bool { return s == subject })
	if listed {
		m.choice.Moderators = append(m.choice.Moderators, subject)
	}
}

func moderates(role room.Role) bool { return role == room.Host || role == room.CoHost }

// setRole changes a role. Being in the audience is remembered; moderators' turns have no end.
func (m *model) setRole(p *person, role room.Role) {
	p.role, p.pulled = role, role == room.Audience
	if p.pulled {
		p.asked = time.Time{}
	}
	if p.mic != nil && moderates(role) != p.mic.until.IsZero() {
		p.mic.until = m.turn(p)
	}
}

// turn is when a turn of p that begins now ends.
func (m *model) turn(p *person) time.Time {
	if m.choice.SpeakingSeconds == 0 || moderates(p.role) {
		return time.Time{}
	}
	return m.now.Add(time.Duration(m.choice.SpeakingSeconds) * time.Second)
}

// turns begins everybody's anew, when their length has changed.
func (m *model) turns() {
	for _, p := range m.members() {
		if p.mic != nil {
			p.mic.until = m.turn(p)
		}
	}
}

// phase follows from what has happened: the room exists from the owner's association.
func (m *model) phase() room.Phase {
	owner := m.person(m.choice.Owner)
	switch {
	case m.closed:
		return room.Closed
	case m.sealed:
		return room.Sealed
	case !m.activated.IsZero(), owner.place != nil && owner.status == room.Associated:
		return room.Opened
	}
	return room.Prepared
}

// nextEpoch is the room in another pod, which knew all of the state: who had entered has
// its place held, who was on the way in begins again.
func (m *model) nextEpoch(now time.Time, spec room.Spec) {
	m.now, m.epoch, m.sealed = now, m.epoch+1, false
	m.step++
	for _, p := range m.members() {
		if !p.inside() {
			m.leave(p)
			continue
		}
		p.status, p.session, p.keys, p.next, p.until = room.Held, "", nil, nil, now.Add(room.Outlived)
	}
	m.lease, m.strangers = time.Time{}, now.Add(room.Outlived)
	if spec.Generation >= m.spec.Generation {
		m.follow(spec)
	}
	for _, p := range m.people { // whom the new intent throws out was never in this pod
		p.counted = false
	}
	m.settle()
}
