package gateway

import (
	"context"
	"fmt"

	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"

	"voiceroom.dev/voiceroom/api/v1alpha1"
)

// Index makes the cache find rooms by their group's ID. It must be called before
// the cache starts.
func Index(ctx context.Context, c cache.Cache) error {
	if err := c.IndexField(ctx, &v1alpha1.VoiceRoom{}, IndexGroupID, GroupIDOf); err != nil {
		return fmt.Errorf("indexing rooms by group: %w", err)
	}
	return nil
}

// Follow tells event streams what happens to rooms, and ends calls to pods that rooms no
// longer claim, as the cache learns of it, until ctx ends. It returns once the cache has been read.
func (g *Gateway) Follow(ctx context.Context, c cache.Cache) error {
	informer, err := c.GetInformer(ctx, &v1alpha1.VoiceRoom{})
	if err != nil {
		return fmt.Errorf("following rooms: %w", err)
	}
	handler, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { g.noteRoom(o, false) },
		UpdateFunc: func(_, o any) { g.noteRoom(o, false) },
		DeleteFunc: func(o any) {
			if last, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
				o = last.Obj
			}
			g.noteRoom(o, true)
		},
	})
	if err != nil {
		return fmt.Errorf("following rooms: %w", err)
	}
	// The error is of a handler that is not there.
	context.AfterFunc(ctx, func() { _ = informer.RemoveEventHandler(handler) })
	return nil
}

func (g *Gateway) noteRoom(o any, deleted bool) {
	if vr, ok := o.(*v1alpha1.VoiceRoom); ok {
		g.claims.note(vr, deleted)
		g.streams.roomChanged(vr, deleted)
	}
}

// Drain ends the event streams and opens no more, so that a server that shuts down
// need not wait for them. It returns at once.
func (g *Gateway) Drain() { g.streams.drain() }

// Wait returns when nothing that the gateway started runs any more, after Drain.
func (g *Gateway) Wait(ctx context.Context) error {
	if err := g.streams.wait(ctx); err != nil {
		return fmt.Errorf("waiting for event streams: %w", err)
	}
	return nil
}
