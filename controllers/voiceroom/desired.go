package voiceroom

import (
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/controllers/fleet"
	"voiceroom.dev/voiceroom/room"
)

// idOf names the room to its pod.
func idOf(vr *v1alpha1.VoiceRoom) room.ID {
	return room.ID{UID: string(vr.UID), Namespace: vr.Namespace, Name: vr.Name, GroupID: vr.Status.GroupID}
}

// specOf is the intent as the pod understands it.
func specOf(vr *v1alpha1.VoiceRoom) room.Spec {
	s := vr.Spec
	return room.Spec{Generation: vr.Generation, DisplayName: displayName(vr), Owner: s.Owner,
		MaxMembers: int(s.MaxMembers), MaxMics: int(s.MaxMics), Access: room.Access(s.Access), MicPolicy: room.MicPolicy(s.MicPolicy),
		Duplicates: room.Duplicates(s.Duplicates), Audience: room.AudienceMode(s.Audience), MuteOnEntry: s.MuteOnEntry,
		SpeakingSeconds: int(s.SpeakingSeconds), Announcement: s.Announcement, Metadata: maps.Clone(s.Metadata),
		Moderators: slices.Clone(s.Moderators), Banned: slices.Clone(s.Banned)}
}

// advertise lists the addresses ("ip:port") at which clients reach the pod: the
// pool's, else the node's external ones, else its internal ones.
func (r *Reconciler) advertise(ctx context.Context, vr *v1alpha1.VoiceRoom, pod *corev1.Pod) ([]string, error) {
	var pool v1alpha1.MediaPool
	if err := r.Client.Get(ctx, client.ObjectKey{Name: vr.Spec.Media.Pool}, &pool); client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("getting MediaPool %s: %w", vr.Spec.Media.Pool, err)
	}
	ips := pool.Spec.Network.Advertise
	if len(ips) == 0 {
		var node corev1.Node
		if err := r.Client.Get(ctx, client.ObjectKey{Name: pod.Spec.NodeName}, &node); client.IgnoreNotFound(err) != nil {
			return nil, fmt.Errorf("getting node %s: %w", pod.Spec.NodeName, err)
		}
		ips = nodeAddresses(&node, pod)
	}
	port := strconv.Itoa(int(fleet.MediaPort(pod)))
	addresses := make([]string, len(ips))
	for i, ip := range ips {
		addresses[i] = net.JoinHostPort(ip, port)
	}
	return addresses, nil
}

// nodeAddresses are the addresses of the pod's node that clients may reach.
func nodeAddresses(node *corev1.Node, pod *corev1.Pod) []string {
	for _, kind := range []corev1.NodeAddressType{corev1.NodeExternalIP, corev1.NodeInternalIP} {
		var ips []string
		for _, a := range node.Status.Addresses {
			if a.Type == kind {
				ips = append(ips, a.Address)
			}
		}
		if len(ips) > 0 {
			return ips
		}
	}
	if pod.Status.HostIP != "" {
		return []string{pod.Status.HostIP}
	}
	return nil
}
