package devnode

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// relayDial bounds how long the relay waits for the pod's process, which is on the same machine.
const relayDial = 2 * time.Second

// relay stands at a pod's address, in front of its process on another one, and can be cut: bytes then stay where they
// are, in both directions, as with a network that drops everything, and go on when it heals. It carries the TCP ports
// that have no hostPort: those that only the cluster uses.
type relay struct {
	to        netip.Addr
	listeners []net.Listener
	running   sync.WaitGroup

	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	closed bool
	passes chan struct{} // closed unless the relay is cut
	done   chan struct{} // closed by close
}

// newRelay listens on the pod's address from, for what is to reach its process on to.
func newRelay(from, to netip.Addr, container *corev1.Container) (*relay, error) {
	r := &relay{to: to, conns: map[net.Conn]struct{}{}, passes: make(chan struct{}), done: make(chan struct{})}
	close(r.passes)
	for _, port := range container.Ports {
		if port.HostPort != 0 || port.Protocol == corev1.ProtocolUDP {
			continue
		}
		l, err := net.Listen("tcp", net.JoinHostPort(from.String(), strconv.Itoa(int(port.ContainerPort))))
		if err != nil {
			r.close()
			return nil, err
		}
		r.listeners = append(r.listeners, l)
		r.running.Go(func() { r.accept(l, strconv.Itoa(int(port.ContainerPort))) })
	}
	return r, nil
}

func (r *relay) accept(l net.Listener, port string) {
	for {
		near, err := l.Accept()
		if err != nil {
			return // closed
		}
		r.running.Go(func() { r.serve(near, port) })
	}
}

// serve carries one connection until either end closes it.
func (r *relay) serve(near net.Conn, port string) {
	defer r.forget(near)
	if !r.keep(near) || !r.pass() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), relayDial)
	defer cancel()
	var dialer net.Dialer
	far, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(r.to.String(), port))
	if err != nil {
		return
	}
	defer r.forget(far)
	if !r.keep(far) {
		return
	}
	var back sync.WaitGroup
	back.Go(func() { r.copy(near, far) })
	r.copy(far, near)
	back.Wait()
}

// copy carries bytes one way, and then the end.
func (r *relay) copy(to, from net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if !r.pass() {
			return
		}
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				_ = from.Close() // its other direction ends too
				return
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			_ = to.(*net.TCPConn).CloseWrite()
			return
		case err != nil:
			_ = to.Close()
			return
		}
	}
}

// pass waits while the relay is cut. It is false once the relay is closed.
func (r *relay) pass() bool {
	r.mu.Lock()
	passes := r.passes
	r.mu.Unlock()
	select {
	case <-passes:
		return true
	case <-r.done:
		return false
	}
}

// cut holds back everything, or lets it go on.
func (r *relay) cut(cut bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.passes:
		if cut {
			r.passes = make(chan struct{})
		}
	default:
		if !cut {
			close(r.passes)
		}
	}
}

// isCut says whether the pod is cut off. A nil sandbox, of a pod that does not run here, is not.
func (b *sandbox) isCut() bool {
	if b == nil || b.relay == nil {
		return false
	}
	b.relay.mu.Lock()
	defer b.relay.mu.Unlock()
	select {
	case <-b.relay.passes:
		return false
	default:
		return true
	}
}

func (r *relay) keep(c net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.conns[c] = struct{}{}
	}
	return !r.closed
}

func (r *relay) forget(c net.Conn) {
	_ = c.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, c)
}

// close ends all connections and waits. From then on the pod's address refuses them. It may be called again.
func (r *relay) close() {
	r.mu.Lock()
	if !r.closed {
		r.closed = true
		close(r.done)
	}
	for c := range r.conns {
		_ = c.Close()
	}
	r.mu.Unlock()
	for _, l := range r.listeners {
		_ = l.Close() // once more is no harm
	}
	r.running.Wait()
}

// Cut parts a pod from the cluster: nothing reaches its address, and nothing that the cluster says of it, such as its
// deletion, reaches its process; the node reports nothing of it either. Its process runs on, and what others reach by
// its hostPorts works on. It is false if no such pod runs. It needs Options.Partitions.
func (n *Node) Cut(namespace, name string) bool { return n.setCut(namespace, name, true) }

// Heal ends what Cut began.
func (n *Node) Heal(namespace, name string) bool { return n.setCut(namespace, name, false) }

func (n *Node) setCut(namespace, name string, cut bool) bool {
	key := types.NamespacedName{Namespace: namespace, Name: name}
	box := n.box(key)
	if box == nil || box.relay == nil {
		return false
	}
	box.relay.cut(cut)
	if !cut {
		n.enqueue(key) // for what it has missed
	}
	return true
}

// ProcessAddress is where a pod's process itself listens, which a cut leaves reachable; the zero Addr if it does not run.
func (n *Node) ProcessAddress(namespace, name string) netip.Addr {
	if box := n.box(types.NamespacedName{Namespace: namespace, Name: name}); box != nil {
		return box.inner
	}
	return netip.Addr{}
}
