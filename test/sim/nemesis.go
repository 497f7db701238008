package sim

import (
	"slices"
	"time"

	"voiceroom.dev/voiceroom/room"
)

// faults are the ones that this world has: some of them, so that worlds differ in what they
// suffer from most.
func (w *world) faults() []func() {
	all := []func(){w.loseAPod, w.wedgeAPod, w.cutAPodOff, w.cutAGatewayOff, w.cutAnOperatorOff, w.endAnOperator, w.wedgeAnOperator,
		w.endAGateway, w.chatGoesAway, w.slowNetwork}
	some := slices.DeleteFunc(slices.Clone(all), func(func()) bool { return w.chance(0.5) })
	return append(some, pick(w.engine, all))
}

// trouble makes one fault after another, with at most so much time between them, until the
// strife is over.
func (w *world) trouble(faults []func(), first, between time.Duration) {
	w.after(first+w.between(500*time.Millisecond, between), func() {
		if !w.peace {
			pick(w.engine, faults)()
			w.trouble(faults, 0, between)
		}
	})
}

// forAWhile undoes a fault later, or at once when the strife is over.
func (w *world) forAWhile(most time.Duration, undo func()) {
	left := strife - w.now.Sub(birth)
	w.after(min(w.between(200*time.Millisecond, most), left), undo)
}

// held is a pod that has the room: mostly the one that the resource names.
func (w *world) held() *pod {
	var held []*pod
	for _, p := range w.births {
		if p.host.up && p.room != nil {
			held = append(held, p)
		}
	}
	if len(held) == 0 {
		return nil
	}
	if p := w.current(); p != nil && w.chance(0.8) {
		return p
	}
	return pick(w.engine, held)
}

func (w *world) loseAPod() {
	if p := w.held(); p != nil {
		p.stop("killed")
	}
}

// kicked may end a pod when it has just said that a kick is durable.
func (w *world) kicked(p *pod, c room.Command) {
	if _, kick := c.(room.Kick); kick && !w.peace && w.chance(0.5) {
		w.after(w.between(0, 20*time.Millisecond), func() { p.stop("killed after a kick") })
	}
}

func (w *world) wedgeAPod() {
	p := w.held()
	if p == nil || p.host.frozen {
		return
	}
	w.note(p.name, "is wedged")
	p.host.freeze()
	p.unfit = p.unfit || w.chance(0.5)
	w.forAWhile(25*time.Second, func() {
		if p.host.frozen {
			w.note(p.name, "goes on")
			p.host.thaw()
		}
		p.unfit = false
	})
}

// cutAPodOff from the control plane, not from its clients.
func (w *world) cutAPodOff() {
	p := w.held()
	if p == nil {
		return
	}
	var from []*host
	if w.chance(0.7) {
		for _, o := range w.operators {
			from = append(from, o.host)
		}
	}
	for _, g := range w.gateways {
		if w.chance(0.5) {
			from = append(from, g.host)
		}
	}
	w.cutPod(p, from)
}

func (w *world) cutPod(p *pod, from []*host) {
	p.unfit = w.chance(0.7)
	w.note(p.name, "is cut off from %d; its kubelet answers: %t", len(from), !p.unfit)
	for _, h := range from {
		w.network.cut(p.host, h)
	}
	w.forAWhile(pick(w.engine, []time.Duration{20 * time.Second, 2 * time.Minute}), func() {
		w.note(p.name, "is reached again")
		p.unfit = false
		for _, h := range from {
			w.network.heal(p.host, h)
		}
	})
}

// pounce may cut a pod off from the operators when they do not know yet that somebody has
// left, or that the room was activated or fell empty. Then they can do nothing about it for a
// while, or end, too.
func (w *world) pounce(p *pod, events []room.Event) {
	for _, e := range events {
		left, activated := e.Type == room.EventLeft && e.Member.Entered != nil, e.Room != nil && e.Room.ActivatedAt != nil
		if !w.sly || w.peace || p.unfit || !left && !activated || w.chance(0.7) {
			continue
		}
		var from []*host
		for _, o := range w.operators {
			from = append(from, o.host)
		}
		w.cutPod(p, from)
		for _, o := range w.operators {
			if activated {
				w.after(0, func() { o.stop("killed") })
			} else {
				w.cutOff(o.host, 8*time.Second)
			}
		}
		return
	}
}

func (w *world) cutOff(h *host, most time.Duration) {
	w.note(h.name, "is cut off from the API server")
	w.network.cut(h, w.cluster.host)
	w.forAWhile(most, func() { w.network.heal(h, w.cluster.host) })
}

func (w *world) cutAGatewayOff()   { w.cutOff(w.anyGateway().host, 30*time.Second) }
func (w *world) cutAnOperatorOff() { w.cutOff(pick(w.engine, w.operators).host, 20*time.Second) }
func (w *world) endAnOperator()    { pick(w.engine, w.operators).stop("killed") }

func (w *world) wedgeAnOperator() {
	h := pick(w.engine, w.operators).host
	if h.frozen || !h.up {
		return
	}
	w.note(h.name, "is wedged")
	h.freeze()
	w.forAWhile(25*time.Second, func() {
		w.note(h.name, "goes on")
		h.thaw()
	})
}

func (w *world) endAGateway() {
	if g := w.anyGateway(); g.host.up {
		g.stop()
	}
}

func (w *world) chatGoesAway() {
	h := w.messenger.host
	w.note(h.name, "is away")
	h.up = false
	w.forAWhile(10*time.Second, func() { h.up = true })
}

func (w *world) slowNetwork() {
	was := w.network.late
	w.network.late = 0.3
	w.forAWhile(5*time.Second, func() { w.network.late = was })
}

// meddle edits the room's spec from time to time.
func (w *world) meddle() {
	w.after(w.between(4*time.Second, 20*time.Second), func() {
		if w.peace {
			return
		}
		w.cluster.edit(func(s *room.Spec) {
			switch w.IntN(4) {
			case 0:
				s.MaxMembers = max(s.MaxMics, s.MaxMembers+w.IntN(4)-2)
			case 1:
				s.MaxMics = min(s.MaxMembers, 1+w.IntN(3))
			case 2:
				who := w.clients[1+w.IntN(len(w.clients)-1)].subject
				if i := slices.Index(s.Banned, who); i >= 0 {
					s.Banned = slices.Delete(s.Banned, i, i+1)
					break
				}
				s.Banned = append(s.Banned, who)
			case 3:
				s.Access = pick(w.engine, []room.Access{room.Public, room.Public, room.Locked, room.InviteOnly})
			}
			w.note("user", "edits: %d members, %d mics, %s, banned %v", s.MaxMembers, s.MaxMics, s.Access, s.Banned)
		})
		w.meddle()
	})
}

// makePeace ends the faults.
func (w *world) makePeace() {
	w.note("world", "peace")
	w.peace = true
	w.network.cuts = map[link]bool{}
	w.network.late, w.network.lost, w.network.twice = 0, 0, 0
	for _, p := range w.births {
		p.unfit = false
	}
	w.cluster.edit(func(s *room.Spec) { s.Access, s.Banned = room.Public, nil })
}
