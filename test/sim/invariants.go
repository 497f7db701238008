package sim

import (
	"fmt"
	"reflect"
	"slices"

	"voiceroom.dev/voiceroom/admission"
	"voiceroom.dev/voiceroom/chat"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/room/roomtest"
	"voiceroom.dev/voiceroom/token"
)

// Invariant is what always holds, in a sentence.
type Invariant string

// The invariants of the whole; those of one room are in room/roomtest, and checked too.
const (
	Seats  Invariant = "When somebody is let in, those who hear or are heard on all pods that live, fenced or not, are at most maxMembers subjects."
	Leased Invariant = "A pod lets strangers in for as long as a lease after it was told so, and no longer."
	Fresh  Invariant = "A gateway renews the lease of no pod that lost its claim before the gateway read it."
	Kept   Invariant = "Who had entered has a place in the next epoch, unless it was thrown out."
	Owned  Invariant = "One pod at most is given the room under an epoch."
	Alone  Invariant = "In each pod a room does all that room/roomtest says, at every step."
	Heard  Invariant = "A pod forwards the audio of nobody but those on a microphone, not muted, entered and connected."
	// Away: the operator that acknowledged it and the pod died together before the status was
	// written, which the design says is lost.
	Away   Invariant = "Who was kicked or banned has no place in that epoch and, once that was durable, in none after it, until it is invited again or unbanned."
	Once   Invariant = "A room token opens one session, once."
	Voided Invariant = "A room token from before a kick opens nothing after it: in that epoch and, once the kick was durable, in later ones."
	Mercy  Invariant = "A kick ends by an invitation that is younger, by an unban or by an edit of the spec, and in no other way."
	Copies Invariant = "What the operator holds as of an event is what the room was at that event, and that was the last of its command."
	Valid  Invariant = "A group becomes valid only when its room was activated, and stays so."
	Lists  Invariant = "When faults have ended, the group soon has those as members who are in the room."
	Lively Invariant = "When faults have ended, whoever keeps asking and is not kept out soon gets in, as long as there is a place."
)

// Violation is an invariant that did not hold.
type Violation struct {
	Invariant Invariant
	Detail    string
}

// checks looks at the world after every step.
type checks struct {
	*world
	violation *Violation // the first
	epochs    map[uint64]string
	logs      map[*pod]*log
	sessions  map[string]*issue
	kicks     map[string][]*kick // by subject
	activated bool
	wasValid  bool
}

func newChecks(w *world) *checks {
	return &checks{world: w, epochs: map[uint64]string{}, logs: map[*pod]*log{}, sessions: map[string]*issue{}, kicks: map[string][]*kick{}}
}

func (c *checks) violate(i Invariant, format string, args ...any) {
	if c.violation == nil {
		c.violation = &Violation{i, fmt.Sprintf(format, args...)}
		c.note("check", "VIOLATED: %s", c.violation.Detail)
	}
}

// opened looks at a room that a pod was given.
func (c *checks) opened(p *pod, r mediaapi.PutRequest) {
	if by, ok := c.epochs[r.Epoch]; ok && by != p.name {
		c.violate(Owned, "%s was given epoch %d, and before it %s", p.name, r.Epoch, by)
	}
	c.epochs[r.Epoch] = p.name
	s := p.room.State()
	if r.Seed != nil {
		if err := roomtest.Begin(r.Seed.Clone()).NextEpoch(s.Clone()); err != nil {
			c.violate(Alone, "%s, epoch %d from its seed: %v", p.name, r.Epoch, err)
		}
	}
	c.pardonedBySpec(r)
	c.logs[p] = begin(c.now, s)
	if r.Seed != nil {
		c.logs[p].inherit(s, c.logs[c.pods[c.epochs[r.Seed.Epoch]]])
	}
	c.kept(p, s)
	if r.Seed == nil {
		return
	}
	for _, m := range r.Seed.Members {
		rec := s.Record(m.Subject)
		if _, here := s.Subject(m.Subject); m.Entered != nil && !here && !rec.Banned && rec.Kicked == nil {
			c.violate(Kept, "%s has no place for %s in epoch %d, which had entered", p.name, m.Subject, r.Epoch)
		}
	}
}

// renewed notes that a pod may let strangers in.
func (c *checks) renewed(p *pod) { c.logs[p].renewed = c.now }

// thawing looks at a gateway that is about to renew a lease.
func (c *checks) thawing(g *gateway, where roomStatus) {
	if end, over := c.cluster.over[where.epoch]; over && c.now.Sub(end) > apiTimeout {
		c.violate(Fresh, "%s renews the lease of %s for epoch %d, which was over %v ago", g.host.name, where.pod, where.epoch, c.now.Sub(end))
	}
}

// pardonedBySpec notes whom a spec lets in again that came with a new epoch.
func (c *checks) pardonedBySpec(r mediaapi.PutRequest) {
	if r.Seed == nil {
		return
	}
	for _, subject := range r.Seed.Settings.Spec.Banned {
		if !slices.Contains(r.Spec.Banned, subject) {
			c.forgive(subject, r.Epoch)
		}
	}
}

func (c *checks) forgive(subject string, epoch uint64) {
	for _, k := range c.kicks[subject] {
		k.forgiven = k.forgiven || k.epoch <= epoch
	}
}

// stepped looks at a pod after its room took a command.
func (c *checks) stepped(p *pod, cmd room.Command, events []room.Event) {
	l := c.logs[p]
	before := l.last
	if r, ok := cmd.(room.Reserve); ok {
		c.reserved(p, before, r)
	}
	if len(events) == 0 {
		return
	}
	after := p.room.State()
	l.add(c.now, before, after, events)
	if err := l.history.Step(after, events); err != nil {
		c.violate(Alone, "%s: %v", p.name, err)
	}
	for _, e := range events {
		switch {
		case e.Record != nil:
			c.remembered(p, cmd, before.Record(e.Record.Subject), e)
		case e.Type == room.EventMember && e.Member.Status == room.Entered:
			if was, ok := before.Member(e.Member.ID); !ok || was.Status != room.Entered {
				c.letIn(p, *e.Member)
			}
		}
	}
	c.activated = c.activated || after.ActivatedAt != nil
	c.kept(p, after)
	c.heard(p, after)
}

// heard looks at whose audio a pod forwards.
func (c *checks) heard(p *pod, s *room.State) {
	for _, mic := range p.audible() {
		link := p.members[mic.Member]
		if m, ok := s.Member(mic.Member); !ok || m.Status != room.Entered || m.Session != link.session || s.Record(m.Subject).Muted {
			c.violate(Heard, "%s forwards the audio of member %d: %+v", p.name, mic.Member, m)
		}
	}
}

// letIn looks at who is inside when one more is.
func (c *checks) letIn(p *pod, m room.Member) {
	inside := map[string]string{}
	for _, other := range c.births {
		if other.host.up {
			for _, link := range other.members {
				if link.entered && !link.hungUp {
					inside[link.client.subject] += " " + other.name
				}
			}
		}
	}
	if most := c.capSince(c.logs[p].taken[m.ID]); len(inside) > most {
		c.violate(Seats, "%s lets %s in, and then there are %d of %d: %v", p.name, m.Subject, len(inside), most, inside)
	}
}

func (c *checks) reserved(p *pod, before *room.State, r room.Reserve) {
	if _, ok := c.sessions[r.Session]; !ok && p.room.Knows(r.Session) {
		c.sessions[r.Session] = &issue{subject: r.Subject, at: c.now}
		l := c.logs[p]
		if _, here := before.Subject(r.Subject); !here && c.now.Sub(l.renewed) > mediaapi.Lease {
			c.violate(Leased, "%s has a place for %s, and its lease was renewed at %v (zero: never)", p.name, r.Subject, l.renewed)
		}
	}
}

// issued looks at a grant that a gateway gives out.
func (c *checks) issued(g admission.Grant, r admission.Request) {
	if i := c.sessions[g.Session]; i == nil || i.subject != r.Subject {
		c.violate(Once, "a token was given out for the session %q of %s, which nobody reserved", g.Session, r.Subject)
	}
}

// spent looks at a token that opened its session.
func (c *checks) spent(p *pod, t token.Room) {
	i := c.sessions[t.Session]
	if i.opened++; i.opened > 1 {
		c.violate(Once, "the token of session %q of %s opened it %d times", t.Session, t.Subject, i.opened)
	}
	for _, k := range c.kicks[t.Subject] {
		if k.binds(p.room.View().Epoch) && k.when.After(i.at) {
			c.violate(Voided, "%s opened a session that was reserved at %v; it was kicked at %v", t.Subject, i.at, k.when)
		}
	}
}

// remembered looks at a record that has changed.
func (c *checks) remembered(p *pod, cmd room.Command, was room.Record, e room.Event) {
	out := func(r room.Record) bool { return r.Banned || r.Kicked != nil }
	subject := e.Record.Subject
	switch {
	case out(*e.Record) && (!out(was) || e.Record.Kicked != nil && (was.Kicked == nil || !was.Kicked.Equal(*e.Record.Kicked))):
		k := &kick{epoch: e.Epoch, seq: e.Seq, at: p.clock(), when: c.now}
		c.kicks[subject] = append(c.kicks[subject], k)
	case out(was) && !out(*e.Record):
		merciful := false
		switch cmd := cmd.(type) {
		case room.Reserve:
			merciful = !was.Banned && cmd.InvitedAt.After(*was.Kicked)
		case room.Unban, room.SetSpec:
			merciful = true
		}
		if !merciful {
			c.violate(Mercy, "%s forgave %s because of %T", p.name, subject, cmd)
		}
		c.forgive(subject, e.Epoch)
	}
}

// durable looks at a kick that a pod acknowledges as durable.
func (c *checks) durable(p *pod, cmd room.Command, r *mediaapi.CommandResult) {
	if _, ok := cmd.(room.Kick); !ok {
		return
	}
	for _, kicks := range c.kicks {
		for _, k := range kicks {
			if k.epoch == r.Epoch && k.seq <= r.Seq && !k.durable {
				k.durable, k.keeper = true, p.holder
			}
		}
	}
}

// seeding notes which kicks the design allows to be lost: those of which neither the
// operator that seeds an epoch nor the status knows, because the one that knew has died.
func (c *checks) seeding(o *operator, epoch uint64) {
	for subject, kicks := range c.kicks {
		for _, k := range kicks {
			written := slices.Contains(c.cluster.objects.room.spec.Banned, subject) || slices.ContainsFunc(c.cluster.objects.room.status.records, func(r room.Record) bool { return r.Subject == subject })
			if k.epoch < epoch && k.keeper != o.host.incarnation() && !written {
				k.lost = true
			}
		}
	}
}

// kept looks for those who have a place although they were thrown out.
func (c *checks) kept(p *pod, s *room.State) {
	for _, m := range s.Members {
		for _, k := range c.kicks[m.Subject] {
			if !k.forgiven && k.binds(s.Epoch) {
				c.violate(Away, "%s has a place for %s (%s) in epoch %d; it was thrown out at %v in epoch %d", p.name, m.Subject, m.Status, s.Epoch, k.when.Sub(birth), k.epoch)
			}
		}
	}
}

// followed looks at an operator's replica.
func (c *checks) followed(n *follower) {
	p := c.pods[n.pod]
	l := c.logs[p]
	if n.mirror.State() == nil || l == nil || l.last.Epoch != n.mirror.State().Epoch {
		return
	}
	if was := l.states[n.mirror.State().Seq]; was == nil || !reflect.DeepEqual(was, n.mirror.State()) {
		c.violate(Copies, "%s at %d.%d holds %+v, and it was %+v", n.host.name, n.mirror.State().Epoch, n.mirror.State().Seq, n.mirror.State(), was)
	}
}

func (c *checks) validated() {
	if !c.activated {
		c.violate(Valid, "nobody has entered")
	}
	c.wasValid = true
}

// settled says whether the world has got over its faults; if not, what is not as it should.
func (c *checks) settled() *Violation {
	p := c.current()
	if p == nil {
		return &Violation{Lively, "no pod has the room"}
	}
	s := p.room.View()
	in, out := 0, []string{}
	for _, cl := range c.clients {
		m, ok := s.Subject(cl.subject)
		rec := s.Record(cl.subject)
		switch {
		case ok && m.Status == room.Entered && p.members[m.ID] != nil:
			in++
		case !rec.Banned && rec.Kicked == nil:
			out = append(out, cl.subject)
		}
	}
	if len(out) > 0 && in < s.Settings.MaxMembers {
		return &Violation{Lively, fmt.Sprintf("%d of %d are in %s, and yet these are not: %v; the members are %+v", in, s.Settings.MaxMembers, p.name, out, s.Members)}
	}
	return c.listed(s)
}

// listed compares the group with the room.
func (c *checks) listed(s *room.State) *Violation {
	var want []string
	for _, m := range s.Members {
		if m.Entered != nil {
			want = append(want, m.Subject)
		}
	}
	got := slices.Sorted(slices.Values(c.messenger.members))
	slices.Sort(want)
	full := c.messenger.capped && len(want) > c.cluster.objects.room.spec.MaxMembers
	if !full && !slices.Equal(want, got) {
		return &Violation{Lists, fmt.Sprintf("the group has %v, the room %v", got, want)}
	}
	if c.wasValid && c.messenger.state != chat.Valid {
		return &Violation{Valid, "it is not any more"}
	}
	return nil
}
