package mediapool

import (
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"voiceroom.dev/voiceroom/api/v1alpha1"
)

// failedFor is how long a pod that ended by itself stays, and with it its port: a
// pool whose pods cannot run makes a new one this often, not as fast as it can.
const failedFor = 10 * time.Second

// doomedFor is how old a pod gets at least that has to go while no pod can be claimed: if
// there is no better place, making and removing pods would not end, so that it is slow.
const doomedFor = time.Minute

// wish is how many idle pods a pool wants.
type wish struct {
	needed int // the warm ones, and one for each room that waits
	ahead  int // more, since rooms are made fast
}

func (w wish) total() int { return w.needed + w.ahead }

// plan is what a pool lacks and has too much of.
type plan struct {
	create  []int32       // ports to try, in order
	missing int           // how many of them
	remove  []*corev1.Pod // idle pods to delete
	short   string        // why fewer are made than needed: a reason, or empty
	again   time.Duration // when time alone changes the plan; 0: never
}

// makePlan compares a pool with its pods. free are the ports that can be had.
//
// Pods that are to be replaced stay until as many new ones are ready: new ones are made first,
// a quarter of the wanted at a time as long as the old ones can be claimed. Where
// there is no room for a new one, an old one makes it.
func makePlan(pool *v1alpha1.MediaPool, w wish, c *census, free func() []int32, now time.Time) plan {
	p := plan{again: c.again}
	standIns := p.buryFailed(c, now)
	fresh := len(c.ready) + len(c.starting) + standIns
	if surplus := fresh - w.total(); surplus > 0 {
		both := slices.Concat(c.starting, c.ready) // those that start go first
		p.remove = append(p.remove, both[:min(len(both), surplus)]...)
	}
	replaced := p.replace(w, c, now)

	surge := min(w.total()-fresh, (w.total()+3)/4-len(c.starting))
	want := max(w.total()-fresh-len(c.old), surge)
	if useful := 2*w.total() - len(c.doomed) - fresh; want > max(useful, 0) {
		want, p.short = max(useful, 0), v1alpha1.ReasonUnschedulable // all new ones have to go as well
	}
	if want <= 0 {
		return p
	}
	p.create = free()
	room, why := len(p.create), v1alpha1.ReasonPortsExhausted
	if most := max(int(pool.Spec.MaxPods)-c.total(), 0); most <= room {
		room, why = most, v1alpha1.ReasonMaxPodsReached
	}
	p.missing = min(want, room)
	if room == 0 && len(replaced) > 0 && len(c.starting)+standIns+c.leaving+len(p.remove) == 0 {
		p.remove = append(p.remove, replaced[0])
	}
	if w.needed-fresh-len(c.old) > room+c.leaving+len(p.remove) { // those make room soon
		p.short = why
	}
	return p
}

// replace removes idle pods that are to be replaced, as far as others have come. It returns
// those that stay, the most useless first.
func (p *plan) replace(w wish, c *census, now time.Time) (stay []*corev1.Pod) {
	lack := max(w.total()-len(c.ready), 0)
	old := max(len(c.old)-lack, 0)
	doomed := max(len(c.doomed)-max(lack-len(c.old), 0), 0)
	if c.claimable() == 0 && doomed > 0 {
		slices.SortFunc(c.doomed, func(a, b *corev1.Pod) int { return a.CreationTimestamp.Compare(b.CreationTimestamp.Time) })
		young := slices.IndexFunc(c.doomed[:doomed], func(pod *corev1.Pod) bool { return now.Sub(pod.CreationTimestamp.Time) < doomedFor })
		if young >= 0 {
			p.again = earliest(p.again, doomedFor-now.Sub(c.doomed[young].CreationTimestamp.Time))
			doomed = young
		}
	}
	p.remove = slices.Concat(p.remove, c.doomed[:doomed], c.old[:old])
	return slices.Concat(c.doomed[doomed:], c.old[old:])
}

// buryFailed removes pods that ended by themselves. It returns how many stand in for
// their replacements a while longer.
func (p *plan) buryFailed(c *census, now time.Time) (standIns int) {
	for _, pod := range c.failed {
		if wait := failedFor - now.Sub(endedAt(pod)); wait > 0 {
			standIns++
			p.again = earliest(p.again, wait)
			continue
		}
		p.remove = append(p.remove, pod)
	}
	return standIns
}

// freePorts are the pool's ports that no pod is named after. They start anywhere:
// a port that something else on its node holds, so that pods fail there, is not
// tried over and over. pick(n) picks one of n ports to start from.
func freePorts(pool *v1alpha1.MediaPool, pods []corev1.Pod, pick func(n int) int) []int32 {
	ports := pool.Spec.Network.PortRange
	taken := make([]bool, ports.Max-ports.Min+1)
	for i := range pods {
		suffix, _ := strings.CutPrefix(pods[i].Name, pool.Name+"-")
		if port, err := strconv.ParseInt(suffix, 10, 32); err == nil && int32(port) >= ports.Min && int32(port) <= ports.Max {
			taken[int32(port)-ports.Min] = true
		}
	}
	var free []int32
	for i, t := range taken {
		if !t {
			free = append(free, ports.Min+int32(i))
		}
	}
	if len(free) == 0 {
		return nil
	}
	start := pick(len(free))
	return slices.Concat(free[start:], free[:start])
}

// endedAt is when a pod's containers ended, as far as the kubelet said.
func endedAt(pod *corev1.Pod) time.Time {
	at := pod.CreationTimestamp.Time
	for _, s := range pod.Status.ContainerStatuses {
		if t := s.State.Terminated; t != nil && t.FinishedAt.After(at) {
			at = t.FinishedAt.Time
		}
	}
	return at
}
