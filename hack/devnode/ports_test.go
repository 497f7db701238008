package devnode

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

func podWithPorts(name string, ports ...corev1.ContainerPort) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Ports: ports}}},
	}
}

func TestPortTable(t *testing.T) {
	udp := corev1.ContainerPort{HostPort: 7, ContainerPort: 7, Protocol: corev1.ProtocolUDP}
	tcp := corev1.ContainerPort{HostPort: 7, ContainerPort: 7, Protocol: corev1.ProtocolTCP}
	inside := corev1.ContainerPort{ContainerPort: 7, Protocol: corev1.ProtocolUDP}
	table := newPortTable()
	reserve := func(pod *corev1.Pod, conflict string) {
		t.Helper()
		err := table.reserve(pod)
		if (conflict == "") != (err == nil) || (err != nil && !strings.Contains(err.Error(), conflict)) {
			t.Errorf("pod %s: got %v, want %q", pod.Name, err, conflict)
		}
	}
	reserve(podWithPorts("a", udp), "")
	reserve(podWithPorts("a", udp), "") // again
	reserve(podWithPorts("b", tcp), "") // another protocol
	reserve(podWithPorts("c", inside), "")
	reserve(podWithPorts("d", udp, tcp), "7/UDP is held by pod ns/a")
	if retry := table.release(types.NamespacedName{Namespace: "ns", Name: "c"}); len(retry) != 0 {
		t.Errorf("%v are told of a release that frees nothing", retry)
	}
	if retry := table.release(types.NamespacedName{Namespace: "ns", Name: "a"}); len(retry) != 1 || retry[0].Name != "d" {
		t.Errorf("%v are told of the release, want d", retry)
	}
	reserve(podWithPorts("d", udp, tcp), "7/TCP is held by pod ns/b")
	reserve(podWithPorts("e", udp), "") // d has nothing while it waits
}

func TestAddressPool(t *testing.T) {
	pool, err := newAddressPool(netip.MustParsePrefix("127.9.8.0/30"))
	if err != nil {
		t.Fatal(err)
	}
	take := func(want string) netip.Addr {
		t.Helper()
		addr, err := pool.take()
		if err != nil || addr.String() != want {
			t.Errorf("got %s, %v, want %s", addr, err, want)
		}
		return addr
	}
	first := take("127.9.8.1")
	second := take("127.9.8.2")
	if _, err := pool.take(); !errors.Is(err, errNoAddress) {
		t.Errorf("got %v from an empty pool", err)
	}
	pool.free(first)
	take("127.9.8.1")
	pool.free(second)
	take("127.9.8.2")
}

func TestAddressPoolIsLoopback(t *testing.T) {
	for _, prefix := range []string{"10.0.0.0/24", "127.0.0.0/31", "0.0.0.0/0", "::1/128"} {
		if _, err := newAddressPool(netip.MustParsePrefix(prefix)); err == nil {
			t.Errorf("%s was taken", prefix)
		}
	}
	pool, err := newAddressPool(netip.Prefix{})
	if err != nil {
		t.Fatal(err)
	}
	if addr, err := pool.take(); err != nil || !addr.IsLoopback() {
		t.Errorf("got %s, %v by default", addr, err)
	}
}
