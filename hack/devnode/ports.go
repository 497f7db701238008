package devnode

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

type hostPort struct {
	number   int32
	protocol corev1.Protocol
}

func (p hostPort) String() string { return fmt.Sprintf("%d/%s", p.number, p.protocol) }

// portTable says which pod holds which port of the node, and who waits for one.
type portTable struct {
	mu      sync.Mutex
	holders map[hostPort]types.NamespacedName
	waiting map[types.NamespacedName]struct{}
}

func newPortTable() *portTable {
	return &portTable{holders: map[hostPort]types.NamespacedName{}, waiting: map[types.NamespacedName]struct{}{}}
}

// reserve takes all host ports of the pod, or none and says who has one of them. Ports that it has already are no
// conflict. A pod that is refused is told by the release that may help it.
func (t *portTable) reserve(pod *corev1.Pod) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := client.ObjectKeyFromObject(pod)
	wanted := hostPorts(pod)
	for _, port := range wanted {
		if holder, taken := t.holders[port]; taken && holder != key {
			t.waiting[key] = struct{}{}
			return fmt.Errorf("host port %s is held by pod %s", port, holder)
		}
	}
	for _, port := range wanted {
		t.holders[port] = key
	}
	delete(t.waiting, key)
	return nil
}

// release gives up everything the pod holds or waits for, and returns the pods that may try again.
func (t *portTable) release(key types.NamespacedName) []types.NamespacedName {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.waiting, key)
	released := false
	for port, holder := range t.holders {
		if holder == key {
			delete(t.holders, port)
			released = true
		}
	}
	if !released {
		return nil
	}
	var retry []types.NamespacedName
	for key := range t.waiting {
		retry = append(retry, key)
	}
	return retry
}

func hostPorts(pod *corev1.Pod) []hostPort {
	var ports []hostPort
	for _, container := range pod.Spec.Containers {
		for _, port := range container.Ports {
			if port.HostPort != 0 {
				ports = append(ports, hostPort{port.HostPort, port.Protocol})
			}
		}
	}
	return ports
}

var (
	loopback = netip.PrefixFrom(netip.AddrFrom4([4]byte{127}), 8)

	errNoAddress = errors.New("no pod address is left on this node")
)

// addressPool hands out pod addresses.
type addressPool struct {
	prefix netip.Prefix

	mu   sync.Mutex
	last netip.Addr
	used map[netip.Addr]struct{}
}

// newAddressPool takes addresses from prefix, or from a /24 in the upper half of 127.0.0.0/8 if prefix is zero.
func newAddressPool(prefix netip.Prefix) (*addressPool, error) {
	if !prefix.IsValid() {
		octets := [4]byte{127, byte(128 + rand.IntN(127)), byte(rand.IntN(256))}
		prefix = netip.PrefixFrom(netip.AddrFrom4(octets), 24)
	}
	prefix = prefix.Masked()
	if !loopback.Overlaps(prefix) || prefix.Bits() < loopback.Bits() || prefix.Bits() > 30 {
		return nil, fmt.Errorf("pod addresses %s are not a network of loopback addresses", prefix)
	}
	return &addressPool{prefix: prefix, last: prefix.Addr(), used: map[netip.Addr]struct{}{}}, nil
}

// take returns an address that nobody has, as late as possible one that somebody had.
func (p *addressPool) take() (netip.Addr, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for addr := p.next(p.last); ; addr = p.next(addr) {
		if _, used := p.used[addr]; !used {
			p.used[addr] = struct{}{}
			p.last = addr
			return addr, nil
		}
		if addr == p.last {
			return netip.Addr{}, errNoAddress
		}
	}
}

// next is the address after addr, round the prefix and past its network and broadcast addresses.
func (p *addressPool) next(addr netip.Addr) netip.Addr {
	addr = addr.Next()
	if !p.prefix.Contains(addr) || !p.prefix.Contains(addr.Next()) {
		return p.prefix.Addr().Next()
	}
	return addr
}

func (p *addressPool) free(addr netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.used, addr)
}
