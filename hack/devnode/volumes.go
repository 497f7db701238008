package devnode

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// A wanting is why a pod cannot start yet: something that it refers to is not there. It is started when that changes.
type wanting struct {
	reason  string // of the container's waiting state
	message string
}

func (w *wanting) Error() string { return w.message }

// projector computes what a pod's volumes hold, from the node's cache.
type projector struct {
	client client.Reader
	pod    *corev1.Pod
	facts  facts
}

// payloads returns the content of every volume that is projected; an emptyDir is not. The error is a *wanting if
// something that is not optional is missing.
func (p *projector) payloads(ctx context.Context) (map[string]payload, error) {
	all := map[string]payload{}
	for _, volume := range p.pod.Spec.Volumes {
		if volume.EmptyDir != nil {
			continue
		}
		content := payload{}
		for _, part := range parts(volume.VolumeSource) {
			if err := p.project(ctx, part, content); err != nil {
				return nil, fmt.Errorf("volume %s: %w", volume.Name, err)
			}
		}
		all[volume.Name] = content
	}
	return all, nil
}

// part is a source of files and the mode of those that have none of their own.
type part struct {
	corev1.VolumeProjection
	mode *int32
}

// parts shows every kind of projected volume as the projections that it consists of.
func parts(source corev1.VolumeSource) []part {
	switch {
	case source.ConfigMap != nil:
		v := source.ConfigMap
		return []part{{corev1.VolumeProjection{ConfigMap: &corev1.ConfigMapProjection{
			LocalObjectReference: v.LocalObjectReference, Items: v.Items, Optional: v.Optional,
		}}, v.DefaultMode}}
	case source.Secret != nil:
		v := source.Secret
		return []part{{corev1.VolumeProjection{Secret: &corev1.SecretProjection{
			LocalObjectReference: corev1.LocalObjectReference{Name: v.SecretName}, Items: v.Items, Optional: v.Optional,
		}}, v.DefaultMode}}
	case source.DownwardAPI != nil:
		v := source.DownwardAPI
		return []part{{corev1.VolumeProjection{DownwardAPI: &corev1.DownwardAPIProjection{Items: v.Items}}, v.DefaultMode}}
	case source.Projected != nil:
		var list []part
		for _, projection := range source.Projected.Sources {
			list = append(list, part{projection, source.Projected.DefaultMode})
		}
		return list
	}
	return nil // refused before: see unsupported
}

func (p *projector) project(ctx context.Context, from part, into payload) error {
	switch {
	case from.ConfigMap != nil:
		data, err := p.configMap(ctx, from.ConfigMap.Name, from.ConfigMap.Optional)
		if err != nil {
			return err
		}
		return pick(data, from.ConfigMap.Items, from.ConfigMap.Optional, from.mode, into)
	case from.Secret != nil:
		data, err := p.secret(ctx, from.Secret.Name, from.Secret.Optional)
		if err != nil {
			return err
		}
		return pick(data, from.Secret.Items, from.Secret.Optional, from.mode, into)
	case from.DownwardAPI != nil:
		for _, item := range from.DownwardAPI.Items {
			value, err := p.facts.value(item.FieldRef, item.ResourceFieldRef)
			if err != nil {
				return err
			}
			if err := put(into, item.Path, []byte(value), item.Mode, from.mode); err != nil {
				return err
			}
		}
	}
	return nil
}

// pick puts the items of data, or all of it if there are no items, into a payload.
func pick(data map[string][]byte, items []corev1.KeyToPath, optional *bool, mode *int32, into payload) error {
	if len(items) == 0 {
		for _, key := range slices.Sorted(maps.Keys(data)) {
			if err := put(into, key, data[key], nil, mode); err != nil {
				return err
			}
		}
		return nil
	}
	for _, item := range items {
		content, ok := data[item.Key]
		if !ok {
			if isTrue(optional) {
				continue
			}
			return &wanting{"ContainerCreating", fmt.Sprintf("it has no key %q", item.Key)}
		}
		if err := put(into, item.Path, content, item.Mode, mode); err != nil {
			return err
		}
	}
	return nil
}

// put adds a file; its own mode goes before the volume's, which the API server defaults to 0644.
func put(into payload, name string, data []byte, own, mode *int32) error {
	// The API server has validated paths; a file outside the pod's directory would be too bad to rely on that alone.
	if clean := path.Clean(name); path.IsAbs(clean) || strings.HasPrefix(clean, "..") {
		return fmt.Errorf("path %q leaves the volume", name)
	}
	f := file{data: data, mode: 0o644}
	switch {
	case own != nil:
		f.mode = os.FileMode(*own)
	case mode != nil:
		f.mode = os.FileMode(*mode)
	}
	into[path.Clean(name)] = f
	return nil
}

// configMap returns the data of a ConfigMap in the pod's namespace; nil if it may be missing and is.
func (p *projector) configMap(ctx context.Context, name string, optional *bool) (map[string][]byte, error) {
	var object corev1.ConfigMap
	if err := p.get(ctx, name, &object); err != nil {
		if apierrors.IsNotFound(err) && isTrue(optional) {
			return nil, nil
		}
		return nil, missingObject(err, "configmap", name)
	}
	data := maps.Clone(object.BinaryData)
	if data == nil {
		data = map[string][]byte{}
	}
	for key, value := range object.Data {
		data[key] = []byte(value)
	}
	return data, nil
}

// secret is configMap for Secrets.
func (p *projector) secret(ctx context.Context, name string, optional *bool) (map[string][]byte, error) {
	var object corev1.Secret
	if err := p.get(ctx, name, &object); err != nil {
		if apierrors.IsNotFound(err) && isTrue(optional) {
			return nil, nil
		}
		return nil, missingObject(err, "secret", name)
	}
	return object.Data, nil
}

func (p *projector) get(ctx context.Context, name string, object client.Object) error {
	return p.client.Get(ctx, client.ObjectKey{Namespace: p.pod.Namespace, Name: name}, object)
}

func missingObject(err error, kind, name string) error {
	if apierrors.IsNotFound(err) {
		return &wanting{"ContainerCreating", fmt.Sprintf("%s %q not found", kind, name)}
	}
	return fmt.Errorf("read %s %s: %w", kind, name, err)
}

func isTrue(b *bool) bool { return b != nil && *b }
