package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/controllers/groupchat"
)

// +kubebuilder:rbac:groups=voiceroom.dev,resources=voicerooms;groupchats,verbs=list
// +kubebuilder:rbac:groups=voiceroom.dev,resources=mediapools;chatproviders,resourceNames=default,verbs=delete
// +kubebuilder:rbac:groups=apps,namespace=voiceroom-system,resources=deployments,resourceNames=voiceroom-operator,verbs=delete
// +kubebuilder:rbac:groups="",namespace=voiceroom-system,resources=secrets,resourceNames=voiceroom-token-keys;voiceroom-operator-key;voiceroom-gateway-key;voiceroom-ca,verbs=delete
// +kubebuilder:rbac:groups="",namespace=voiceroom-system,resources=configmaps,resourceNames=voiceroom-keys;voiceroom-orphans,verbs=delete
// +kubebuilder:rbac:groups="",namespace=voiceroom-media,resources=configmaps,resourceNames=voiceroom-keys,verbs=delete
// +kubebuilder:rbac:groups=coordination.k8s.io,namespace=kube-system,resources=leases,resourceNames=voiceroom-operator,verbs=delete

// askAgain is how often it is looked whether something is gone.
const askAgain = 500 * time.Millisecond

// uninstalling are the flags of operator uninstall.
type uninstalling struct {
	kubeconfig                string
	namespace, mediaNamespace string
	undo                      string
	timeout                   time.Duration
}

func newUninstall() *cobra.Command {
	var u uninstalling
	cmd := &cobra.Command{
		Use:   "uninstall",
		Short: "Delete what nobody could delete once the operator is gone",
		Long: `uninstall is what "helm uninstall" runs first. It refuses while there are rooms or
groups: nobody would end their calls and dissolve their groups. Then it deletes the
pool and the provider named default, which needs the operator; the operator; and what
the operator made at run time, its keys above all. It may be run again.

Pools and providers of your own stay, as do the custom resource definitions.`,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true, // main prints them
		RunE: func(cmd *cobra.Command, _ []string) error {
			if u.namespace == "" {
				return errors.New("--namespace is needed outside a pod: where the operator is")
			}
			kube, err := kubeConfig(u.kubeconfig)
			if err != nil {
				return fmt.Errorf("finding the API server: %w", err)
			}
			scheme, err := uninstallScheme()
			if err != nil {
				return err
			}
			c, err := client.New(kube, client.Options{Scheme: scheme})
			if err != nil {
				return fmt.Errorf("making a client of the API server: %w", err)
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), u.timeout)
			defer cancel()
			err = u.run(ctx, c)
			if err != nil && u.undo != "" { // Helm takes a refused release for one that is going
				err = fmt.Errorf("%w. To keep Voiceroom instead: %s", err, u.undo)
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&u.kubeconfig, "kubeconfig", "", "kubeconfig file (default: $KUBECONFIG, else the pod's service account)")
	f.StringVar(&u.namespace, "namespace", os.Getenv("POD_NAMESPACE"), "the operator's namespace (default: $POD_NAMESPACE)")
	f.StringVar(&u.mediaNamespace, "media-namespace", "voiceroom-media", "namespace of the media pods")
	f.StringVar(&u.undo, "undo", "", "what undoes an uninstall that was refused, for the refusal to tell")
	f.DurationVar(&u.timeout, "timeout", 2*time.Minute, "how long it may take")
	return cmd
}

// uninstallScheme knows the kinds that are looked for.
func uninstallScheme() (*runtime.Scheme, error) {
	s := runtime.NewScheme()
	return s, errors.Join(clientgoscheme.AddToScheme(s), v1alpha1.AddToScheme(s))
}

// run deletes in an order in which whoever is needed is still there.
func (u *uninstalling) run(ctx context.Context, c client.Client) error {
	if err := noRooms(ctx, c); err != nil {
		return err
	}
	meta := func(namespace, name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: namespace, Name: name}
	}
	for _, o := range []client.Object{
		&v1alpha1.ChatProvider{ObjectMeta: meta("", "default")},
		&v1alpha1.MediaPool{ObjectMeta: meta("", "default")},
		&appsv1.Deployment{ObjectMeta: meta(u.namespace, "voiceroom-operator")},
	} {
		if err := deleteAndWait(ctx, c, o); err != nil {
			return err
		}
	}
	for _, o := range []client.Object{
		&corev1.Secret{ObjectMeta: meta(u.namespace, v1alpha1.TokenKeysSecret)},
		&corev1.Secret{ObjectMeta: meta(u.namespace, v1alpha1.OperatorKeySecret)},
		&corev1.Secret{ObjectMeta: meta(u.namespace, v1alpha1.GatewayKeySecret)},
		&corev1.Secret{ObjectMeta: meta(u.namespace, v1alpha1.CASecret)},
		&corev1.ConfigMap{ObjectMeta: meta(u.namespace, v1alpha1.PublicKeysConfigMap)},
		&corev1.ConfigMap{ObjectMeta: meta(u.mediaNamespace, v1alpha1.PublicKeysConfigMap)},
		&corev1.ConfigMap{ObjectMeta: meta(u.namespace, groupchat.OrphansConfigMap)},
		&coordinationv1.Lease{ObjectMeta: meta("kube-system", "voiceroom-operator")},
	} {
		if err := c.Delete(ctx, o); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("deleting %T %s: %w", o, client.ObjectKeyFromObject(o), err)
		}
	}
	return nil
}

// noRooms refuses while somebody's rooms or groups are there.
func noRooms(ctx context.Context, c client.Client) error {
	var rooms v1alpha1.VoiceRoomList
	var groups v1alpha1.GroupChatList
	if err := errors.Join(c.List(ctx, &rooms), c.List(ctx, &groups)); err != nil {
		return fmt.Errorf("looking for rooms and groups: %w", err)
	}
	var left []string
	for _, r := range rooms.Items {
		left = append(left, "voiceroom "+r.Namespace+"/"+r.Name)
	}
	for _, g := range groups.Items {
		left = append(left, "groupchat "+g.Namespace+"/"+g.Name)
	}
	const shown = 10
	switch n := len(left); {
	case n == 0:
		return nil
	case n > shown:
		left = append(left[:shown], fmt.Sprintf("and %d more", n-shown))
	}
	return fmt.Errorf("there are %d rooms and %d groups (%s): without the operator nobody ends their calls and dissolves their groups. "+
		"Delete them first: kubectl delete voicerooms,groupchats --all --all-namespaces", len(rooms.Items), len(groups.Items), strings.Join(left, ", "))
}

// deleteAndWait deletes o with what it owns and waits until it is gone. A refusal may pass: a
// pool is held by the pods of rooms that have just been deleted.
func deleteAndWait(ctx context.Context, c client.Client, o client.Object) error {
	for {
		err := c.Delete(ctx, o, client.PropagationPolicy(metav1.DeletePropagationForeground))
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil && !apierrors.IsForbidden(err) && !apierrors.IsConflict(err) {
			return fmt.Errorf("deleting %T %s: %w", o, client.ObjectKeyFromObject(o), err)
		}
		select {
		case <-time.After(askAgain):
		case <-ctx.Done():
			return fmt.Errorf("waiting for the end of %T %s: %w", o, client.ObjectKeyFromObject(o), errors.Join(err, ctx.Err()))
		}
	}
}
