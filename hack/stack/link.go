package stack

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
)

// linkDial bounds how long a link waits for the other end, which is on the same machine.
const linkDial = 2 * time.Second

// link is the way of one process to the API server, which can be cut: its connections end
// then, and new ones are refused, as when no API server is left.
type link struct {
	address string // host:port of the near end, for good
	to      string
	running sync.WaitGroup

	mu       sync.Mutex
	listener net.Listener // nil: cut
	conns    map[net.Conn]struct{}
}

// newLink makes a link that stands, to the API server at a URL, or host:port.
func newLink(server string) (*link, error) {
	to, _, err := rest.DefaultServerURL(server, "", schema.GroupVersion{}, true)
	if err != nil {
		return nil, fmt.Errorf("reading the API server's address %s: %w", server, err)
	}
	l := &link{address: "127.0.0.1:0", to: to.Host, conns: map[net.Conn]struct{}{}}
	return l, l.heal()
}

func (l *link) heal() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.listener != nil {
		return nil
	}
	listener, err := net.Listen("tcp", l.address)
	if err != nil {
		return fmt.Errorf("linking a process to the API server: %w", err)
	}
	l.listener, l.address = listener, listener.Addr().String()
	l.running.Go(func() { l.accept(listener) })
	return nil
}

// cut may be called again. It waits for every goroutine of the link.
func (l *link) cut() {
	l.mu.Lock()
	if l.listener != nil {
		_ = l.listener.Close()
		l.listener = nil
	}
	for c := range l.conns {
		_ = c.Close()
	}
	l.mu.Unlock()
	l.running.Wait()
}

func (l *link) accept(listener net.Listener) {
	for {
		near, err := listener.Accept()
		if err != nil {
			return // closed
		}
		l.running.Go(func() { l.carry(near) })
	}
}

// carry carries one connection until either end closes it.
func (l *link) carry(near net.Conn) {
	defer l.forget(near)
	ctx, cancel := context.WithTimeout(context.Background(), linkDial)
	defer cancel()
	var dialer net.Dialer
	far, err := dialer.DialContext(ctx, "tcp", l.to)
	if err != nil {
		return
	}
	defer l.forget(far)
	if !l.keep(near, far) {
		return
	}
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(near, far)
		_ = near.Close()
	})
	_, _ = io.Copy(far, near)
	_ = far.Close()
	back.Wait()
}

// keep is false once the link is cut.
func (l *link) keep(conns ...net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range conns {
		l.conns[c] = struct{}{}
	}
	return l.listener != nil
}

func (l *link) forget(c net.Conn) {
	_ = c.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
}

// CutProcess takes the API server away from an operator or a gateway, until HealProcess.
func (s *Stack) CutProcess(name string) {
	if l := s.command(name).link; l != nil { // beside a fake fleet there is none
		l.cut()
	}
}

// HealProcess gives it back.
func (s *Stack) HealProcess(name string) error { return s.command(name).link.heal() }
