package voiceroom

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/room"
)

// roomsByShare is the index of the cache that finds the rooms, those that ended left out,
// that share a quota: of one namespace, in one pool.
const roomsByShare = "media.pool/namespace"

func shareOf(vr *v1alpha1.VoiceRoom) string { return vr.Spec.Media.Pool + "/" + vr.Namespace }

// caps are what a quota sums.
type caps struct{ members, mics int32 }

func (c caps) plus(d caps) caps { return caps{c.members + d.members, c.mics + d.mics} }

// most is the larger of each.
func (c caps) most(d caps) caps { return caps{max(c.members, d.members), max(c.mics, d.mics)} }

// exceeds says whether c is more than a quota.
func (c caps) exceeds(q v1alpha1.NamespaceQuota) bool {
	return q.MaxMembers != nil && c.members > *q.MaxMembers || q.MaxMics != nil && c.mics > *q.MaxMics
}

// wish are the caps that the room is to have.
func wish(vr *v1alpha1.VoiceRoom) caps { return caps{vr.Spec.MaxMembers, vr.Spec.MaxMics} }

// granted are the caps that the room has: as its pod acknowledged them. They are none
// before it had a pod, and while it sleeps.
func granted(vr *v1alpha1.VoiceRoom) caps {
	return caps{vr.Status.EffectiveMaxMembers, vr.Status.EffectiveMaxMics}
}

// quotas hold the rooms of a namespace to what they may sum to in a pool. The zero value
// is ready to use. Safe for concurrent use.
type quotas struct {
	mu sync.Mutex
	// promised are caps that rooms may have and whose status does not show it yet.
	promised map[string]map[types.NamespacedName]caps
	// refused are the rooms that wait, by what they share.
	refused map[string]map[types.NamespacedName]struct{}
}

// admit says whether the room may have the caps that it wants, of a quota that it shares
// with rooms, as the cache has them; without, what it may not exceed. Rooms get their share
// by their age, so that of two for which there is no place one gets it; one that is too
// large is passed over.
func (q *quotas) admit(vr *v1alpha1.VoiceRoom, quota v1alpha1.NamespaceQuota, rooms func() ([]v1alpha1.VoiceRoom, error)) (*shortage, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	share, name := shareOf(vr), client.ObjectKeyFromObject(vr)
	all, err := rooms() // with the lock held: who was admitted meanwhile is among promised
	if err != nil {
		return nil, err
	}
	q.settle(share, all)
	taken := q.taken(vr, quota, all)
	if taken.plus(wish(vr)).exceeds(quota) {
		if q.refused == nil {
			q.refused = map[string]map[types.NamespacedName]struct{}{}
		}
		if q.refused[share] == nil {
			q.refused[share] = map[types.NamespacedName]struct{}{}
		}
		q.refused[share][name] = struct{}{}
		return &shortage{reason: v1alpha1.ReasonQuotaExceeded, message: refusal(vr, quota, taken)}, nil
	}
	delete(q.refused[share], name)
	if q.promised == nil {
		q.promised = map[string]map[types.NamespacedName]caps{}
	}
	if q.promised[share] == nil {
		q.promised[share] = map[types.NamespacedName]caps{}
	}
	q.promised[share][name] = wish(vr)
	return nil, nil
}

// settle forgets promises that a room's status shows, and those to rooms that are gone.
func (q *quotas) settle(share string, rooms []v1alpha1.VoiceRoom) {
	promised := q.promised[share]
	open := make(map[types.NamespacedName]caps, len(promised))
	for i := range rooms {
		vr, name := &rooms[i], client.ObjectKeyFromObject(&rooms[i])
		if p, ok := promised[name]; ok && granted(vr).most(p) != granted(vr) {
			open[name] = p
		}
	}
	if len(promised) > 0 {
		q.promised[share] = open
	}
}

// taken is what the other rooms have, and what older ones would be given that wait.
func (q *quotas) taken(vr *v1alpha1.VoiceRoom, quota v1alpha1.NamespaceQuota, rooms []v1alpha1.VoiceRoom) caps {
	var sum caps
	var waiting []*v1alpha1.VoiceRoom
	for i := range rooms {
		other := &rooms[i]
		has := granted(other).most(q.promised[shareOf(vr)][client.ObjectKeyFromObject(other)])
		if has == (caps{}) && claim(other) != nil { // its pod has not said yet
			has = wish(other)
		}
		switch {
		case other.UID == vr.UID, closed(other), other.DeletionTimestamp != nil:
		case has != (caps{}): // of one that sleeps: it was admitted, and its waking is not seen yet
			sum = sum.plus(has)
		case !asleep(other) && byAge(other, vr) < 0:
			waiting = append(waiting, other)
		}
	}
	slices.SortFunc(waiting, byAge)
	for _, other := range waiting {
		if with := sum.plus(wish(other)); !with.exceeds(quota) {
			sum = with
		}
	}
	return sum
}

func byAge(a, b *v1alpha1.VoiceRoom) int {
	return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.UID, b.UID))
}

// refusal says what is too much, and what to do.
func refusal(vr *v1alpha1.VoiceRoom, quota v1alpha1.NamespaceQuota, taken caps) string {
	say := func(of string, wants, taken, most int32) string {
		return fmt.Sprintf("%s: this room wants %d, and the rooms of namespace %s have %d of the %d that MediaPool %s allows them together (namespaceQuota.%s); lower it, end a room, or raise the quota",
			of, wants, vr.Namespace, taken, most, vr.Spec.Media.Pool, of)
	}
	if q := quota.MaxMembers; q != nil && taken.members+vr.Spec.MaxMembers > *q {
		return say("maxMembers", vr.Spec.MaxMembers, taken.members, *q)
	}
	return say("maxMics", vr.Spec.MaxMics, taken.mics, *quota.MaxMics)
}

// waiting are the rooms that were refused what they want of what a room shares.
func (q *quotas) waiting(share string) []types.NamespacedName {
	q.mu.Lock()
	defer q.mu.Unlock()
	var names []types.NamespacedName
	for name := range q.refused[share] {
		names = append(names, name)
	}
	return names
}

// forget drops a room that wants no more than its status shows, with what it was promised:
// caps that it has lowered since would count for ever.
func (q *quotas) forget(name types.NamespacedName) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for share, promised := range q.promised {
		if delete(promised, name); len(promised) == 0 {
			delete(q.promised, share)
		}
	}
	for share, refused := range q.refused {
		if delete(refused, name); len(refused) == 0 {
			delete(q.refused, share)
		}
	}
}

// overQuota says why the room may not have the caps of its spec; nil if it may. What it has
// already is never taken away.
func (r *Reconciler) overQuota(ctx context.Context, vr *v1alpha1.VoiceRoom) (*shortage, error) {
	pool, _, err := r.pool(ctx, vr)
	if pool == nil || err != nil {
		return nil, err // there is nothing to be had there
	}
	quota := pool.Spec.NamespaceQuota
	if quota.MaxMembers == nil && quota.MaxMics == nil || granted(vr).most(wish(vr)) == granted(vr) {
		r.quotas.forget(client.ObjectKeyFromObject(vr))
		return nil, nil
	}
	return r.quotas.admit(vr, quota, func() ([]v1alpha1.VoiceRoom, error) {
		var list v1alpha1.VoiceRoomList
		if err := r.Client.List(ctx, &list, client.MatchingFields{roomsByShare: shareOf(vr)}, client.UnsafeDisableDeepCopy); err != nil {
			return nil, fmt.Errorf("listing the rooms that share a quota: %w", err)
		}
		return list.Items, nil
	})
}

// specFor is the room's intent for its next pod. An edit that its quota does not allow is
// not in it: the caps are what they were, and the generation an earlier one, so that the
// edit is news when it is allowed.
func (r *Reconciler) specFor(ctx context.Context, vr *v1alpha1.VoiceRoom, seed *room.State) (room.Spec, error) {
	spec, has := specOf(vr), granted(vr)
	if has == (caps{}) || seed != nil && seed.Settings.Generation >= vr.Generation {
		return spec, nil
	}
	short, err := r.overQuota(ctx, vr)
	if short != nil {
		spec.Generation--
		spec.MaxMembers, spec.MaxMics = min(spec.MaxMembers, int(has.members)), min(spec.MaxMics, int(has.mics))
	}
	return spec, err
}

// shareFreed passes rooms that take less of their quota than before.
var shareFreed = predicate.Funcs{
	CreateFunc: func(event.CreateEvent) bool { return false },
	UpdateFunc: func(e event.UpdateEvent) bool {
		before, now := e.ObjectOld.(*v1alpha1.VoiceRoom), e.ObjectNew.(*v1alpha1.VoiceRoom)
		less := granted(before).most(granted(now)) != granted(now)
		return less || !closed(before) && closed(now) || !asleep(before) && asleep(now) ||
			granted(now) == (caps{}) && wish(before) != wish(now) // one that waits wants less
	},
}

// roomsOfShare are the rooms that wait for what a room took.
func (r *Reconciler) roomsOfShare(_ context.Context, o client.Object) []reconcile.Request {
	var requests []reconcile.Request
	for _, name := range r.quotas.waiting(shareOf(o.(*v1alpha1.VoiceRoom))) {
		requests = append(requests, reconcile.Request{NamespacedName: name})
	}
	return requests
}
