package gateway

import (
	"context"
	"errors"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"voiceroom.dev/voiceroom/api/v1alpha1"
)

var errMoved = errors.New("the room has moved to another media pod")

// claims are the rooms' claims of their pods, as the cache has told of them. Whoever waits for
// the answer of a pod that may be lost waits no longer than its claim lasts. Safe for
// concurrent use.
type claims struct {
	mu    sync.Mutex
	rooms map[types.UID]claim
}

type claim struct {
	epoch int64
	pod   string                  // UID; empty: the room has none under this epoch
	life  context.Context         //nolint:containedctx // the claim's
	end   context.CancelCauseFunc // of life
}

// note takes in what the cache tells of a room, in the order in which it does. The calls to the pod
// of a room that ends are let run: it has an answer for them.
func (c *claims) note(vr *v1alpha1.VoiceRoom, deleted bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	media, known := vr.Status.Media, c.rooms[vr.UID]
	switch {
	case deleted, ended(vr), media == nil:
		delete(c.rooms, vr.UID)
		return
	case known.epoch == media.Epoch && known.pod == media.PodUID:
		return
	case known.end != nil:
		known.end(errMoved)
	}
	now := claim{epoch: media.Epoch, pod: media.PodUID}
	now.life, now.end = context.WithCancelCause(context.Background())
	c.rooms[vr.UID] = now
}

// life lasts as long as a room's claim of its pod, and ends with errMoved. vr is of the cache,
// read a while ago, or before we were told of it.
func (c *claims) life(vr *v1alpha1.VoiceRoom) context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	media, known := vr.Status.Media, c.rooms[vr.UID]
	switch {
	case known.epoch > media.Epoch:
		over, end := context.WithCancelCause(context.Background())
		end(errMoved)
		return over
	case known.epoch == media.Epoch && known.pod == media.PodUID:
		return known.life
	}
	return context.Background()
}
