package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/admission"
	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/chat"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/token"
)

// IndexGroupID is the field index by which rooms are found by their group's ID;
// the cache must have it, made with GroupIDOf.
const IndexGroupID = "status.groupID"

// GroupIDOf extracts what IndexGroupID indexes.
func GroupIDOf(o client.Object) []string {
	if vr, ok := o.(*v1alpha1.VoiceRoom); ok && vr.Status.GroupID != "" {
		return []string{vr.Status.GroupID}
	}
	return nil
}

// Pod is a media pod's control API, as the gateway uses it; *mediaapi.Client has it.
type Pod interface {
	admission.Pod
	CommandDurably(ctx context.Context, epoch uint64, as string, c room.Command) (*mediaapi.CommandResult, error)
	Renew(ctx context.Context, epoch, seq uint64) error
	Signal(ctx context.Context, r mediaapi.SignalRequest) (*mediaapi.SignalAnswer, error)
	Restart(ctx context.Context, session string, r mediaapi.SignalRequest) (*mediaapi.SignalAnswer, error)
	Watch(ctx context.Context, epoch, after uint64, fn func(mediaapi.Frame) error) error
}

var _ Pod = (*mediaapi.Client)(nil)

// place is where a room is now.
type place struct {
	admission.Room
	pod Pod
	vr  *v1alpha1.VoiceRoom // from the cache: read only
}

// key of what is done once per room and epoch.
func (p place) key() string { return fmt.Sprintf("%s#%d", p.ID.UID, p.Epoch) }

// match refuses a token that is not for this place.
func (p place) match(t token.Room, staleStatus int) error {
	if t.RoomUID != p.ID.UID {
		return refuse(http.StatusUnauthorized, mediaapi.TokenAudience, "the token is meant for another room")
	}
	return p.at(t.Epoch, staleStatus)
}

// at refuses an epoch that is not this place's.
func (p place) at(epoch uint64, staleStatus int) error {
	switch {
	case epoch < p.Epoch:
		return stale(staleStatus)
	case epoch > p.Epoch: // our cache is behind
		return refuse(http.StatusServiceUnavailable, room.Moving, "the room is moving to another media pod; ask again").later()
	}
	return nil
}

// voiceRoom reads a room from the cache.
func (g *Gateway) voiceRoom(ctx context.Context, namespace, name string) (*v1alpha1.VoiceRoom, error) {
	var vr v1alpha1.VoiceRoom
	err := g.cfg.Cluster.Cached.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &vr)
	if apierrors.IsNotFound(err) {
		return nil, unknownRoom()
	}
	if err != nil {
		return nil, fmt.Errorf("reading room %s/%s: %w", namespace, name, err)
	}
	return &vr, nil
}

func unknownRoom() error {
	return refuse(http.StatusNotFound, codeUnknownRoom, "there is no such room")
}

// ofGroup finds the room of a group; one that goes on before one that ended.
func (g *Gateway) ofGroup(ctx context.Context, groupID string) (*v1alpha1.VoiceRoom, error) {
	var rooms v1alpha1.VoiceRoomList
	if err := g.cfg.Cluster.Cached.List(ctx, &rooms, client.MatchingFields{IndexGroupID: groupID}); err != nil {
		return nil, fmt.Errorf("looking for the room of a group: %w", err)
	}
	var found *v1alpha1.VoiceRoom
	for i := range rooms.Items {
		if vr := &rooms.Items[i]; found == nil || ended(found) && !ended(vr) {
			found = vr
		}
	}
	if found == nil {
		return nil, unknownRoom()
	}
	return found, nil
}

func ended(vr *v1alpha1.VoiceRoom) bool {
	return vr.Status.Phase == v1alpha1.RoomClosed || vr.DeletionTimestamp != nil
}

// locate says which pod holds the room. A room that has none is a refusal which
// says why.
func (g *Gateway) locate(ctx context.Context, vr *v1alpha1.VoiceRoom) (place, error) {
	media := vr.Status.Media
	switch {
	case ended(vr):
		return place{}, refuse(http.StatusGone, room.RoomClosed, "the room has ended")
	case vr.Status.Phase == v1alpha1.RoomAsleep:
		return place{}, refuse(http.StatusServiceUnavailable, codeRoomWaking, "the room sleeps; it wakes when somebody joins").later()
	case media == nil || media.Endpoint == "" || vr.Status.GroupID == "":
		return place{}, refuse(http.StatusServiceUnavailable, codeRoomNotReady, "the room is being prepared").later()
	}
	p := place{pod: g.cfg.Dial(g.claims.life(vr), media.Endpoint, media.PodUID), vr: vr}
	p.Room = admission.Room{
		ID:         room.ID{UID: string(vr.UID), Namespace: vr.Namespace, Name: vr.Name, GroupID: vr.Status.GroupID},
		Epoch:      uint64(media.Epoch),
		Pod:        p.pod,
		MaxMembers: int(vr.Spec.MaxMembers),
		Degrade:    vr.Spec.Chat.FailurePolicy == v1alpha1.ChatDegrade,
	}
	if vr.Status.EffectiveMaxMembers > 0 {
		p.MaxMembers = int(vr.Status.EffectiveMaxMembers)
	}
	provider, err := g.provider(ctx, vr)
	if err != nil && !errors.Is(err, chat.ErrUnavailable) {
		return place{}, err
	}
	p.Chat = provider // nil: admission knows what that means
	return p, nil
}

// provider returns the chat back end of a room's group.
func (g *Gateway) provider(ctx context.Context, vr *v1alpha1.VoiceRoom) (chat.Provider, error) {
	name := vr.Spec.Chat.Provider
	if ref := vr.Spec.Chat.GroupChatRef; ref != nil {
		var gc v1alpha1.GroupChat
		if err := g.cfg.Cluster.Cached.Get(ctx, client.ObjectKey{Namespace: vr.Namespace, Name: ref.Name}, &gc); err != nil {
			return nil, fmt.Errorf("reading group chat %s/%s: %w: %w", vr.Namespace, ref.Name, chat.ErrUnavailable, err)
		}
		name = gc.Spec.Provider
	}
	return g.cfg.Providers.Get(name)
}

// located is voiceRoom and locate.
func (g *Gateway) located(ctx context.Context, namespace, name string) (place, error) {
	vr, err := g.voiceRoom(ctx, namespace, name)
	if err != nil {
		return place{}, err
	}
	return g.locate(ctx, vr)
}

// wake asks the operator to claim a pod for a room that sleeps.
func (g *Gateway) wake(ctx context.Context, vr *v1alpha1.VoiceRoom) error {
	_, err := g.wakes.Do(ctx, string(vr.UID), func(ctx context.Context) (struct{}, error) {
		patch := fmt.Appendf(nil, `{"metadata":{"uid":%q,"annotations":{%q:%q}}}`, vr.UID, v1alpha1.AnnotationWake, g.now().UTC().Format(time.RFC3339))
		target := &v1alpha1.VoiceRoom{}
		target.Namespace, target.Name = vr.Namespace, vr.Name
		if err := g.cfg.Cluster.Writer.Patch(ctx, target, client.RawPatch(mergePatch, patch)); err != nil {
			return struct{}{}, ofCluster("waking room "+vr.Namespace+"/"+vr.Name, err)
		}
		return struct{}{}, nil
	})
	return err
}

// thaw renews a pod's admission lease, because it says that it is frozen: the
// operator may be away. It does so only if the API server itself says, now, that
// the room is still with that pod under that epoch; a cache could keep an old pod
// admitting strangers beside the new one.
func (g *Gateway) thaw(ctx context.Context, p place) error {
	_, err := g.thaws.Do(ctx, p.key(), func(ctx context.Context) (struct{}, error) {
		var none struct{}
		var now v1alpha1.VoiceRoom
		if err := g.cfg.Cluster.Live.Get(ctx, client.ObjectKeyFromObject(p.vr), &now); err != nil {
			return none, ofCluster("reading the epoch of room "+p.vr.Namespace+"/"+p.vr.Name, err)
		}
		media := now.Status.Media
		if now.UID != p.vr.UID || ended(&now) || media == nil || media.PodUID != p.vr.Status.Media.PodUID || media.Epoch != p.vr.Status.Media.Epoch {
			return none, refuse(http.StatusServiceUnavailable, room.Moving, "the room is moving to another media pod; ask again").later()
		}
		if err := p.pod.Renew(ctx, p.Epoch, 0); err != nil {
			return none, admission.FromPod("renewing the admission lease", err)
		}
		g.metrics.renewed.Inc()
		return none, nil
	})
	return err
}
