package sim

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"voiceroom.dev/voiceroom/admission"
	"voiceroom.dev/voiceroom/chat"
	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/token"
)

// The length of a seed: faults for a while, and then time to get over them.
const (
	strife   = 60 * time.Second
	recovery = 4 * time.Minute
)

// world is one room with everything around it.
type world struct {
	*engine
	network   *network
	cluster   *cluster
	messenger *messenger
	operators []*operator
	gateways  []*gateway
	clients   []*client
	pods      map[string]*pod
	births    []*pod // all of them, in the order in which they were made
	id        room.ID
	check     *checks
	mutation  mutation
	peace     bool // the faults have stopped
	nature
}

// nature is what makes worlds differ.
type nature struct {
	crowded  bool    // many people want few places, and nothing goes wrong but that pods are cut off
	restless float64 // are its people
	sly      bool    // are its faults: they come when they hurt
}

func (m mutation) nature(e *engine) nature {
	n := nature{crowded: e.chance(0.2), restless: pick(e, []float64{1, 0.5, 0.1}), sly: e.chance(0.4)}
	if slices.Contains([]mutation{hasty, freely, outwaited, seedless}, m) { // few other worlds would notice
		n.crowded = true
	}
	if n.crowded {
		n.restless, n.sly = pick(e, []float64{1, 0.2}), true
	}
	return n
}

// mutation is a rule of the shell that a world leaves out, to see that somebody notices.
type mutation string

// The mutations.
const (
	sound       mutation = ""
	ownLease    mutation = "a pod renews its own lease"
	cachedThaw  mutation = "a gateway renews a lease by what its cache says"
	noPlaces    mutation = "the next epoch holds no places"
	noMemory    mutation = "the next epoch remembers nobody who was thrown out"
	hasty       mutation = "the operator says that earlier pods are dead without looking"
	boastful    mutation = "a pod says that a kick is durable before anybody else holds it"
	blindClaims mutation = "the operator claims over the claim of another"
	halves      mutation = "the operator takes half a command into its replica"
	freely      mutation = "a pod gives a place away before it is durable that it fell free"
	outwaited   mutation = "a pod takes the ones before it for dead once their leases must have ended"
	seedless    mutation = "a pod without a seed does not wait for the end of the ones before it"
)

// seed is the seed of the next epoch under a mutation.
func (m mutation) seed(s *room.State) *room.State {
	if s = s.Clone(); m == noPlaces {
		s.Members, s.Mics = nil, nil
	}
	if m == noMemory {
		for i := range s.Records {
			s.Records[i].Kicked, s.Records[i].Banned = nil, false
		}
		s.Records = slices.DeleteFunc(s.Records, func(r room.Record) bool { return !r.Muted && !r.ChatMuted && !r.Audience })
	}
	return s
}

func newWorld(seed uint64, m mutation) *world {
	e := newEngine(seed)
	w := &world{engine: e, mutation: m, pods: map[string]*pod{}, id: room.ID{UID: "uid", Namespace: "default", Name: "room", GroupID: groupID}}
	w.network = &network{engine: e, cuts: map[link]bool{}, usual: e.between(2*time.Millisecond, 40*time.Millisecond),
		late: e.Float64() * pick(e, []float64{0.1, 0.01}), lost: e.Float64() * pick(e, []float64{0.04, 0.004}), twice: e.Float64() * 0.04}
	w.nature = m.nature(e)
	w.check = newChecks(w)
	w.cluster = &cluster{network: w.network, host: &host{name: "api", up: true}, over: map[uint64]time.Time{}, blind: m == blindClaims}
	w.messenger = &messenger{world: w, host: &host{name: "chat", up: true}, state: chat.Invalid, capped: e.chance(0.3)}
	w.people()
	w.refill()
	for i := range 2 {
		o := &operator{world: w, host: w.newHost(fmt.Sprint("operator-", i))}
		w.operators = append(w.operators, o)
		o.start()
	}
	for i := range 3 {
		g := &gateway{world: w, host: w.newHost(fmt.Sprint("gateway-", i))}
		w.gateways = append(w.gateways, g)
		g.start()
	}
	faults, edits := w.faults(), w.chance(0.6)
	if w.crowded {
		faults, edits = []func(){w.cutAPodOff}, false
		w.network.late, w.network.lost = w.network.late/10, w.network.lost/10
	}
	w.trouble(faults, pick(e, []time.Duration{0, 6 * time.Second, 15 * time.Second}), pick(e, []time.Duration{6 * time.Second, 20 * time.Second}))
	if edits {
		w.meddle()
	}
	return w
}

// skewed is how far a clock is from the true time at most.
const skewed = 100 * time.Millisecond

func (w *world) newHost(name string) *host {
	return &host{name: name, skew: w.between(0, 2*skewed) - skewed}
}

// people makes the room's resource and those who want to be in it.
func (w *world) people() {
	spec := room.Spec{Generation: 1, Access: room.Public, MicPolicy: pick(w.engine, []room.MicPolicy{room.Auto, room.Auto, room.OnRequest}),
		MaxMembers: 2 + w.IntN(4), MaxMics: 1 + w.IntN(2)}
	if w.crowded {
		spec.MaxMembers = 2 + w.IntN(2)
	}
	for i := range spec.MaxMembers + 1 + w.IntN(5) {
		c := &client{world: w, host: &host{name: fmt.Sprint("client-", i), up: true, life: 1}, subject: fmt.Sprint("key:shop:", i), hostile: w.chance(0.3)}
		switch {
		case i == 0:
			spec.Owner, c.moderator, c.hostile = c.subject, !w.crowded, false
		case i == 1:
			spec.Moderators, c.moderator = []string{c.subject}, !w.crowded
		case w.chance(0.3):
			c.invited = w.now
		}
		w.clients = append(w.clients, c)
		w.spawn(c.host, c.live)
	}
	w.cluster.objects.room.spec = spec
}

// refill keeps two warm pods ready, as a pool does.
func (w *world) refill() {
	idle := 0
	for _, pod := range w.cluster.objects.pods {
		if !pod.bound && !pod.deleting && !pod.ended {
			idle++
		}
	}
	for range 2 - idle {
		p := &pod{world: w, name: fmt.Sprint("pod-", len(w.births)), conns: map[string]*conn{}, members: map[uint32]*conn{}}
		p.host = w.newHost(p.name)
		p.verifier = w.verifier(p.host)
		w.pods[p.name] = p
		w.births = append(w.births, p)
		p.start()
		w.cluster.addPod(p.name)
	}
	w.after(time.Second, w.refill)
}

// kubeletSees reports the end of a pod.
func (w *world) kubeletSees(p *pod) {
	w.after(w.between(200*time.Millisecond, 1500*time.Millisecond), func() {
		if p.unfit {
			w.kubeletSees(p)
			return
		}
		w.cluster.setPod(p.name, func(o *podObject) { o.ended = true })
		if o := w.cluster.objects.pod(p.name); o != nil && o.deleting {
			w.cluster.removePod(p.name)
		}
	})
}

// kubeletKills ends a pod that was deleted.
func (w *world) kubeletKills(p *pod) {
	w.after(w.between(100*time.Millisecond, 2*time.Second), func() {
		switch {
		case p.unfit:
			w.kubeletKills(p)
		case p.host.up:
			p.stop("its kubelet ends it")
		default:
			w.kubeletSees(p)
		}
	})
}

func (w *world) anyGateway() *gateway { return pick(w.engine, w.gateways) }

// admission is the room as its resource describes it.
func (w *world) admission(p *process, vr voiceRoom) admission.Room {
	return admission.Room{ID: w.id, Epoch: vr.status.epoch, Pod: w.dial(p, vr.status.pod), Chat: w.messenger.client(p), MaxMembers: vr.spec.MaxMembers}
}

// current is the pod that the room's resource names, if it lives and has the room.
func (w *world) current() *pod {
	s := w.cluster.objects.room.status
	p := w.pods[s.pod]
	if p == nil || !p.host.up || p.room == nil || p.room.View().Epoch != s.epoch {
		return nil
	}
	return p
}

// ring signs all tokens of all worlds.
var ring = sync.OnceValue(func() *token.Ring {
	r, _, err := (*token.Ring)(nil).Rotate(birth, token.DefaultRotation, entropy{newEngine(0)})
	if err != nil {
		panic(err) // its randomness never fails
	}
	return r
})

func (w *world) newDesk() *admission.Desk {
	clock := func() time.Time { return w.now }
	return admission.New(token.NewMinter(ring, clock, entropy{w.engine}), admission.WithClock(clock), admission.WithRand(entropy{w.engine}))
}

func (w *world) verifier(h *host) *token.Verifier {
	return token.NewVerifier(ring().Public, func() time.Time { return w.now.Add(h.skew) })
}

// entropy reads from an engine's randomness.
type entropy struct{ *engine }

var _ io.Reader = entropy{}

func (r entropy) Read(b []byte) (int, error) {
	for chunk := range slices.Chunk(b, 8) {
		var word [8]byte
		binary.LittleEndian.PutUint64(word[:], r.Uint64())
		copy(chunk, word[:])
	}
	return len(b), nil
}
