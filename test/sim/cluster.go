package sim

import (
	"errors"
	"slices"
	"time"

	"voiceroom.dev/voiceroom/room"
)

var (
	errConflict = errors.New("the object was changed meanwhile")
	errNotFound = errors.New("there is no such object")
)

// voiceRoom is the resource: intent, and in its status the claim and what is remembered.
type voiceRoom struct {
	version int
	spec    room.Spec
	status  roomStatus
}

type roomStatus struct {
	pod     string // that is claimed; empty: none
	epoch   uint64
	ready   bool // the pod took the room
	started *time.Time
	host    string
	records []room.Record
}

// podObject is a media pod as the API server knows it.
type podObject struct {
	version  int
	name     string
	bound    bool // it carries the room's labels
	epoch    uint64
	deleting bool
	ended    bool // as its kubelet has reported
}

// objects are what the API server stores, or what a cache has of it.
type objects struct {
	room   voiceRoom
	pods   []podObject
	leader lease
}

// lease is the leader election's.
type lease struct {
	holder  string
	renewed time.Time
}

func (o objects) clone() objects {
	o.pods = slices.Clone(o.pods)
	return o
}

func (o *objects) pod(name string) *podObject {
	for i := range o.pods {
		if o.pods[i].name == name {
			return &o.pods[i]
		}
	}
	return nil
}

// cluster is the API server with optimistic concurrency, and the caches that follow it.
type cluster struct {
	*network
	host    *host
	objects objects
	caches  []*cache
	over    map[uint64]time.Time // when an epoch's claim ended
	blind   bool                 // it does not look at versions
}

// cache is a reader's copy of the objects, which is behind by as much as the network is.
type cache struct {
	objects
	host    *host
	changed func()
}

func (c *cluster) follow(h *host, changed func()) *cache {
	k := &cache{objects: c.objects.clone(), host: h, changed: changed}
	c.caches = append(c.caches, k)
	return k
}

func (c *cluster) unfollow(h *host) {
	c.caches = slices.DeleteFunc(c.caches, func(k *cache) bool { return k.host == h })
}

// wrote tells the caches.
func (c *cluster) wrote() {
	for _, k := range c.caches {
		c.after(c.latency(), func() { c.refresh(k) })
	}
}

func (c *cluster) refresh(k *cache) {
	if !slices.Contains(c.caches, k) {
		return
	}
	if !c.joined(c.host, k.host) {
		c.after(time.Second, func() { c.refresh(k) })
		return
	}
	seen := c.objects.clone()
	k.host.do(func() {
		k.objects = seen
		k.changed()
	})
}

const apiTimeout = 3 * time.Second

// live reads the room from the API server itself.
func (c *cluster) live(p *process) (voiceRoom, error) {
	return call(p, c.network, c.host, apiTimeout, func(answer answer[voiceRoom]) { answer(c.objects.room, nil) })
}

// patchStatus writes the room's status, unless the room has changed since version.
func (c *cluster) patchStatus(p *process, version int, status roomStatus) (voiceRoom, error) {
	return call(p, c.network, c.host, apiTimeout, func(answer answer[voiceRoom]) {
		if c.objects.room.version != version && !c.blind {
			answer(voiceRoom{}, errConflict)
			return
		}
		c.objects.room.version++
		if was := c.objects.room.status; was.epoch != status.epoch || was.pod != status.pod {
			c.over[was.epoch] = c.now
		}
		c.objects.room.status = status
		c.note("api", "status: pod %q epoch %d ready %t records %d", status.pod, status.epoch, status.ready, len(status.records))
		c.wrote()
		answer(c.objects.room, nil)
	})
}

// bindPod labels a pod with the room, unless the pod has changed since version.
func (c *cluster) bindPod(p *process, name string, version int, epoch uint64) error {
	_, err := call(p, c.network, c.host, apiTimeout, func(answer answer[none]) {
		pod := c.objects.pod(name)
		switch {
		case pod == nil:
			answer(none{}, errNotFound)
		case pod.version != version:
			answer(none{}, errConflict)
		default:
			pod.version++
			pod.bound, pod.epoch = true, epoch
			c.wrote()
			answer(none{}, nil)
		}
	})
	return err
}

type none struct{}

// edit changes the spec, as a user does.
func (c *cluster) edit(change func(*room.Spec)) {
	c.objects.room.spec.Banned = slices.Clone(c.objects.room.spec.Banned)
	change(&c.objects.room.spec)
	c.objects.room.spec.Generation++
	c.objects.room.version++
	c.wrote()
}

// lead takes or keeps the leader election's lease.
func (c *cluster) lead(p *process, as string) error {
	_, err := call(p, c.network, c.host, apiTimeout, func(answer answer[none]) {
		l := &c.objects.leader
		if l.holder != as && c.now.Sub(l.renewed) < leaseDuration && l.holder != "" {
			answer(none{}, errConflict)
			return
		}
		if l.holder != as {
			c.note("api", "%s leads", as)
		}
		l.holder, l.renewed = as, c.now
		answer(none{}, nil)
	})
	return err
}

// setPod changes a pod's object, as its kubelet or the pool does.
func (c *cluster) setPod(name string, change func(*podObject)) {
	if pod := c.objects.pod(name); pod != nil {
		pod.version++
		change(pod)
		c.wrote()
	}
}

func (c *cluster) addPod(name string) {
	c.objects.pods = append(c.objects.pods, podObject{name: name})
	c.wrote()
}

func (c *cluster) removePod(name string) {
	c.objects.pods = slices.DeleteFunc(c.objects.pods, func(p podObject) bool { return p.name == name })
	c.wrote()
}
