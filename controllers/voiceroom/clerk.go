package voiceroom

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/admission"
	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/chat"
	"voiceroom.dev/voiceroom/chat/registry"
	"voiceroom.dev/voiceroom/controllers/fleet"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
)

// Clerk brings admission to the operator: it looks up a room's intent and its chat
// provider. It is the fleet's clerk. All fields are required.
type Clerk struct {
	Reader    client.Reader
	Providers *registry.Registry
	Desk      *admission.Desk
	Dialer    *mediaapi.Dialer
}

// Confirm implements fleet.Clerk. A session that is gone meanwhile is no error.
func (c *Clerk) Confirm(ctx context.Context, r fleet.Room, session string) error {
	in, err := c.room(ctx, r)
	if err != nil {
		return err
	}
	_, err = c.Desk.Confirm(ctx, in, session)
	if errors.Is(err, &admission.Error{Code: room.UnknownSession}) {
		return nil
	}
	return err
}

// Repair implements fleet.Clerk.
func (c *Clerk) Repair(ctx context.Context, r fleet.Room) error {
	in, err := c.room(ctx, r)
	if err != nil {
		return err
	}
	return c.Desk.Repair(ctx, in, nil)
}

// Count asks chat whether the room's group has a place (step 7 of the flow). A
// room that has no pod now has nobody in it. Errors are *admission.Error.
func (c *Clerk) Count(ctx context.Context, vr *v1alpha1.VoiceRoom) error {
	m := claim(vr)
	if m == nil {
		return nil
	}
	in, err := c.admission(ctx, vr, fleet.Room{ID: idOf(vr), Epoch: uint64(m.Epoch), Pod: c.Dialer.Pod(m.Endpoint, m.PodUID)})
	if err != nil {
		return err
	}
	return c.Desk.Count(ctx, in)
}

// room looks up the resource of a room.
func (c *Clerk) room(ctx context.Context, r fleet.Room) (admission.Room, error) {
	var vr v1alpha1.VoiceRoom
	name := types.NamespacedName{Namespace: r.ID.Namespace, Name: r.ID.Name}
	if err := c.Reader.Get(ctx, name, &vr); err != nil {
		return admission.Room{}, fmt.Errorf("getting the room: %w", err)
	}
	return c.admission(ctx, &vr, r)
}

// admission is the room as admission wants it.
func (c *Clerk) admission(ctx context.Context, vr *v1alpha1.VoiceRoom, r fleet.Room) (admission.Room, error) {
	provider, err := c.provider(ctx, vr)
	if err != nil {
		return admission.Room{}, err
	}
	return admission.Room{ID: r.ID, Epoch: r.Epoch, Pod: r.Pod, Chat: provider, MaxMembers: int(vr.Spec.MaxMembers),
		Degrade: vr.Spec.Chat.FailurePolicy == v1alpha1.ChatDegrade}, nil
}

// provider returns where the room's group lives; nil if that is not open.
func (c *Clerk) provider(ctx context.Context, vr *v1alpha1.VoiceRoom) (chat.Provider, error) {
	var group v1alpha1.GroupChat
	name := types.NamespacedName{Namespace: vr.Namespace, Name: vr.Status.GroupChat}
	if err := c.Reader.Get(ctx, name, &group); err != nil {
		return nil, fmt.Errorf("getting the room's group: %w", err)
	}
	provider, err := c.Providers.Get(group.Spec.Provider)
	if errors.Is(err, registry.ErrUnknown) {
		return nil, nil
	}
	return provider, err
}
