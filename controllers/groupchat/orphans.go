package groupchat

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// OrphansConfigMap holds the records of groups that could not be dissolved: one
// JSON Orphan for each UID of a GroupChat.
const OrphansConfigMap = "voiceroom-orphans"

// errOrphansFull says that the ConfigMap takes no more (some 4,000 records).
var errOrphansFull = errors.New("the ConfigMap " + OrphansConfigMap + " is full")

// Orphan is a group whose GroupChat was let go because its ChatProvider was gone.
type Orphan struct {
	UID        types.UID `json:"-"` // of the GroupChat
	Provider   string    `json:"provider"`
	GroupID    string    `json:"groupID"`
	Key        string    `json:"key"` // that the group was made with
	ReleasedAt time.Time `json:"releasedAt"`
}

// Orphans are the records, in a ConfigMap of the operator's namespace. Safe for
// concurrent use.
type Orphans struct {
	Client    client.Client // writes
	Live      client.Reader // reads; ConfigMaps are not cached
	Namespace string
}

// +kubebuilder:rbac:groups="",namespace=voiceroom-system,resources=configmaps,resourceNames=voiceroom-orphans,verbs=get;patch
// +kubebuilder:rbac:groups="",namespace=voiceroom-system,resources=configmaps,verbs=create

// Record adds o, or replaces the record with its UID.
func (o *Orphans) Record(ctx context.Context, orphan Orphan) error {
	value, err := json.Marshal(orphan)
	if err != nil {
		return fmt.Errorf("recording an orphan: %w", err)
	}
	text := string(value)
	err = o.patch(ctx, orphan.UID, &text)
	if apierrors.IsNotFound(err) {
		cm := o.configMap()
		cm.Data = map[string]string{string(orphan.UID): text}
		err = o.Client.Create(ctx, cm)
	}
	switch {
	case apierrors.IsInvalid(err), apierrors.IsRequestEntityTooLargeError(err):
		return errOrphansFull
	case err != nil:
		return fmt.Errorf("recording an orphan: %w", err)
	}
	return nil
}

// Forget removes the record with this UID.
func (o *Orphans) Forget(ctx context.Context, uid types.UID) error {
	if err := o.patch(ctx, uid, nil); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("forgetting an orphan: %w", err)
	}
	return nil
}

// List returns all records, in no order. What is not a record is passed over.
func (o *Orphans) List(ctx context.Context) ([]Orphan, error) {
	cm := o.configMap()
	if err := o.Live.Get(ctx, client.ObjectKeyFromObject(cm), cm); err != nil {
		if apierrors.IsNotFound(err) {
			return nil, nil
		}
		return nil, fmt.Errorf("reading the orphans: %w", err)
	}
	var all []Orphan
	for uid, value := range cm.Data {
		orphan := Orphan{UID: types.UID(uid)}
		if json.Unmarshal([]byte(value), &orphan) == nil && orphan.Key != "" {
			all = append(all, orphan)
		}
	}
	return all, nil
}

// patch sets or (nil) removes one record and leaves the others alone.
func (o *Orphans) patch(ctx context.Context, uid types.UID, value *string) error {
	patch, err := json.Marshal(map[string]any{"data": map[string]*string{string(uid): value}})
	if err != nil {
		return err
	}
	return o.Client.Patch(ctx, o.configMap(), client.RawPatch(types.MergePatchType, patch))
}

func (o *Orphans) configMap() *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: o.Namespace, Name: OrphansConfigMap}}
}
