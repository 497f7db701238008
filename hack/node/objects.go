//go:build linux

package node

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	volumesPerNode = 8
	volumeSize     = "16Gi" // that it says it has; nothing holds anybody to it
	storageClass   = "standard"

	readyTimeout = 3 * time.Minute
)

// volumePath is the directory of volume n in a node's file system, but for the root.
func volumePath(n int) string { return filepath.Join("var", "lib", "volumes", strconv.Itoa(n)) }

//go:embed objects.yaml
var objects []byte

// addObjects makes what a cluster has from the start: DNS, the default StorageClass and volumes.
func (g *Group) addObjects(ctx context.Context) error {
	c, err := client.New(g.plane.Config(), client.Options{})
	if err != nil {
		return fmt.Errorf("make a client of the cluster: %w", err)
	}
	for documents := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(objects), 4096); ; {
		obj := &unstructured.Unstructured{}
		err := documents.Decode(obj)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("read the objects of a cluster: %w", err)
		}
		if err := c.Create(ctx, obj); err != nil {
			return fmt.Errorf("make %s %s: %w", obj.GetKind(), obj.GetName(), err)
		}
	}
	for _, m := range g.nodes {
		for n := range volumesPerNode {
			if err := c.Create(ctx, volume(m.name, n)); err != nil {
				return fmt.Errorf("make a volume of %s: %w", m.name, err)
			}
		}
	}
	return nil
}

// volume is volume n of a node.
func volume(node string, n int) *corev1.PersistentVolume {
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: node + "-" + strconv.Itoa(n)},
		Spec: corev1.PersistentVolumeSpec{
			StorageClassName:              storageClass,
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(volumeSize)},
			AccessModes:                   []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
			PersistentVolumeSource: corev1.PersistentVolumeSource{
				Local: &corev1.LocalVolumeSource{Path: "/" + volumePath(n)},
			},
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{
				NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{{
					Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{node},
				}}}},
			}},
		},
	}
}

// waitReady waits for the nodes and for DNS.
func (g *Group) waitReady(ctx context.Context) error {
	fmt.Fprintln(g.opts.Progress, "waiting for the nodes and for DNS")
	c, err := client.New(g.plane.Config(), client.Options{})
	if err != nil {
		return fmt.Errorf("make a client of the cluster: %w", err)
	}
	var missing string
	err = wait.PollUntilContextTimeout(ctx, 200*time.Millisecond, readyTimeout, true, func(ctx context.Context) (bool, error) {
		for _, m := range g.nodes {
			if err := m.ended(); err != nil {
				return false, err
			}
		}
		var err error
		missing, err = g.missing(ctx, c)
		return err == nil && missing == "", err
	})
	if err != nil {
		return fmt.Errorf("wait for the cluster (%s): %w; see the logs in %s", missing, err, g.opts.LogDir)
	}
	return nil
}

// missing says what is not ready yet; empty is nothing.
func (g *Group) missing(ctx context.Context, c client.Client) (string, error) {
	for _, m := range g.nodes {
		var node corev1.Node
		if err := c.Get(ctx, client.ObjectKey{Name: m.name}, &node); client.IgnoreNotFound(err) != nil {
			return "", err
		}
		ready := "it has not joined"
		for _, condition := range node.Status.Conditions {
			if condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue {
				ready = ""
			} else if condition.Type == corev1.NodeReady {
				ready = condition.Message
			}
		}
		if ready != "" {
			return m.name + ": " + ready, nil
		}
	}
	var dns appsv1.Deployment
	if err := c.Get(ctx, client.ObjectKey{Namespace: "kube-system", Name: "coredns"}, &dns); err != nil {
		return "", err
	}
	if dns.Status.AvailableReplicas == 0 {
		return "DNS has no pod that is ready", nil
	}
	return "", nil
}
