package controllers_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/hack/bot"
	"voiceroom.dev/voiceroom/hack/controlplane"
	"voiceroom.dev/voiceroom/hack/controlplane/child"
	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/token"
)

// startGateway runs the real gateway until the end of the test, and returns its URL. An
// operator must have published the keys.
func startGateway(t *testing.T) string {
	t.Helper()
	var addresses [2]string
	for i := range addresses {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		addresses[i] = l.Addr().String()
		must(t, l.Close())
	}
	url := "http://" + addresses[0]
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	must(t, controlplane.WriteKubeconfig(kubeconfig, plane.Config()))
	cmd := exec.Command(gatewayBinary, "--kubeconfig", kubeconfig, "--namespace", systemNamespace, "--listen", addresses[0],
		"--health-listen", addresses[1], "--public-url", url, "--allow-guests", "--drain", "0s")
	cmd.Env = os.Environ()
	gateway, err := child.Start(cmd)
	must(t, err)
	t.Cleanup(func() { gateway.Kill(); <-gateway.Done() })
	until(t, "the gateway is ready", func() (bool, error) {
		res, err := http.Get("http://" + addresses[1] + "/readyz")
		if err != nil {
			return false, nil
		}
		return res.StatusCode == http.StatusOK, res.Body.Close()
	})
	return url
}

// enter lets the owner and a guest in, who keep their places by themselves.
func enter(t *testing.T, vr *v1alpha1.VoiceRoom, gateway string) []*bot.Member {
	t.Helper()
	var secret corev1.Secret
	must(t, cluster.Get(t.Context(), client.ObjectKey{Namespace: vr.Namespace, Name: vr.Status.HostTicketSecret}, &secret))
	guest, err := bot.Guest(t.Context(), gateway, "Bob")
	must(t, err)
	var members []*bot.Member
	for _, credential := range []string{string(secret.Data[v1alpha1.TicketKey]), guest} {
		until(t, "somebody is in "+vr.Name, func() (bool, error) { // strangers once the pod's lease was renewed
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			m, err := bot.Stay(ctx, bot.Config{Gateway: gateway, Room: vr.Namespace + "/" + vr.Name, Credential: credential})
			if refusal, ok := errors.AsType[*bot.ProblemError](err); ok && refusal.Code == "frozen" {
				return false, nil
			}
			if err == nil {
				t.Cleanup(func() { _ = m.Close() })
				members = append(members, m)
			}
			return true, err
		})
	}
	return members
}

// seen is the room as a pod has it.
func seen(t *testing.T, vr *v1alpha1.VoiceRoom) *room.State {
	t.Helper()
	state, err := dial(t, vr, token.CallerOperator, v1alpha1.OperatorKeySecret).Get(t.Context(), 0)
	must(t, err)
	return state
}

// places are who is where in a room.
func places(s *room.State) []string {
	var list []string
	for _, m := range s.Members {
		mic, _ := s.Mic(m.ID)
		list = append(list, fmt.Sprintf("%d %s %s on microphone %d as of %d", m.ID, m.Subject, m.Role, mic.Index, mic.Grant))
	}
	return list
}

// TestKilledAtAnyWriteOfAMove kills an operator before and after each of the writes that
// move a room which people are in. Its successor must end up with the room in one pod, with
// everybody in the same place.
func TestKilledAtAnyWriteOfAMove(t *testing.T) {
	stop := startOperator(t, nil)
	gateway := startGateway(t)
	stop()
	for _, answered := range []bool{false, true} {
		for n := range 4 { // claim, bind, claim complete, summary
			g := &guillotine{answered: answered, left: 1 << 30, fell: make(chan struct{})}
			name := fmt.Sprintf("moved-%t-%d", answered, n)
			g.counts = func(r *http.Request) bool {
				return r.Method == http.MethodPatch && (strings.Contains(r.URL.Path, "/pods/") || strings.Contains(r.URL.Path, "/voicerooms/"))
			}
			left := n
			if answered {
				left++
			}
			movedWhileKilled(t, name, gateway, g, left)
		}
	}
}

// movedWhileKilled evicts a room's pod, and kills the operator after so many writes.
func movedWhileKilled(t *testing.T, name, gateway string, g *guillotine, left int) {
	t.Helper()
	stop := startOperator(t, func(rt http.RoundTripper) http.RoundTripper { g.next = rt; return g })
	vr := newRoom(t, name)
	waitReady(t, vr)
	members := enter(t, vr, gateway)
	until(t, "the status knows both", func() (bool, error) {
		err := cluster.Get(t.Context(), client.ObjectKeyFromObject(vr), vr)
		return vr.Status.Members == 2 && len(vr.Status.Mics) == 2, err
	})
	waitWarm(t, "default")
	before, first := seen(t, vr), *vr.Status.Media
	g.arm(left)
	must(t, cluster.Delete(t.Context(), podOf(t, vr)))
	moved := func() (bool, error) {
		err := cluster.Get(t.Context(), client.ObjectKeyFromObject(vr), vr)
		m := vr.Status.Media
		return m != nil && m.PodUID != "" && m.PodUID != first.PodUID && vr.Status.Members == 2 &&
			meta.FindStatusCondition(vr.Status.Conditions, v1alpha1.ConditionDraining) == nil, err
	}
	until(t, "the operator was killed, or moved "+name, func() (bool, error) {
		select {
		case <-g.fell:
			return true, nil
		default:
			return moved()
		}
	})
	stop()

	stop = startOperator(t, nil)
	until(t, name+" has moved", moved)
	until(t, "both are there", func() (bool, error) {
		err := cluster.Get(t.Context(), client.ObjectKeyFromObject(vr), vr)
		for _, m := range members {
			if m.Now().Grant.Epoch != uint64(vr.Status.Media.Epoch) {
				return false, err
			}
		}
		return true, err
	})
	if diff := cmp.Diff(places(before), places(seen(t, vr))); diff != "" {
		t.Errorf("%s: places (-before +after):\n%s", name, diff)
	}
	until(t, "exactly the claimed pod carries the labels of "+name, func() (bool, error) { return onePod(t.Context(), vr) })
	removeRoom(t, vr)
	stop()
}

// arm lets so many more writes through.
func (g *guillotine) arm(left int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.left = left
}

// TestSealedWithoutSuccessor seals a room's pod, as an operator did that was killed then, while
// there is no other pod and nothing is against this one any more. The room waits for one, and
// costs nothing meanwhile.
func TestSealedWithoutSuccessor(t *testing.T) {
	w := &writes{seen: map[string]int{}}
	startOperator(t, func(rt http.RoundTripper) http.RoundTripper { w.RoundTripper = rt; return w })
	gateway := startGateway(t)
	pool := newPool("single", 1, 1, 24800)
	must(t, cluster.Create(t.Context(), pool))
	vr := newRoom(t, "sealed", inPool("single"))
	waitReady(t, vr)
	enter(t, vr, gateway)
	_, err := dial(t, vr, token.CallerOperator, v1alpha1.OperatorKeySecret).Command(t.Context(), 1, "", room.Seal{})
	must(t, err)
	waitCondition(t, vr, v1alpha1.ConditionDraining, metav1.ConditionTrue, v1alpha1.ReasonPoolExhausted)
	written := func() int {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.seen["PATCH voicerooms/sealed/status"]
	}
	before := written()
	for n := range 4 { // each time it is looked at, and another room comes and goes
		metav1.SetMetaDataAnnotation(&vr.ObjectMeta, "test", fmt.Sprint(n))
		must(t, cluster.Update(t.Context(), vr))
		other := newRoom(t, "elsewhere")
		waitReady(t, other)
		removeRoom(t, other)
		must(t, cluster.Get(t.Context(), client.ObjectKeyFromObject(vr), vr))
	}
	if n := written() - before; n > 2 { // what its pool's numbers say may change
		t.Errorf("%d writes of the status of a room that waits", n)
	}
	changePool(t, pool, func(s *v1alpha1.MediaPoolSpec) { s.MaxPods = 3 })
	until(t, "the room has moved", func() (bool, error) {
		err := cluster.Get(t.Context(), client.ObjectKeyFromObject(vr), vr)
		return vr.Status.Media != nil && vr.Status.Media.Epoch > 1 && vr.Status.Members == 2 &&
			meta.FindStatusCondition(vr.Status.Conditions, v1alpha1.ConditionDraining) == nil, err
	})
	removeRoom(t, vr)
	removePool(t, pool)
}
