package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// pods are all pods that run. Safe for concurrent use.
type pods struct {
	now        func() time.Time
	ownersCome atomic.Bool

	mu     sync.Mutex
	next   uint32 // of 127.64.0.0/10, which nothing else of this repository uses
	byAddr map[netip.Addr]*pod
	byName map[string]*pod
}

func newPods(now func() time.Time) *pods {
	return &pods{now: now, byAddr: map[netip.Addr]*pod{}, byName: map[string]*pod{}}
}

// add runs a pod and returns its address, a new one if ip is empty. A pod that runs
// already stays as it is.
func (f *pods) add(name, uid, pool, ip string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p := f.byName[name]; p != nil {
		if p.uid == uid {
			return p.addr.String()
		}
		f.forget(p)
	}
	addr, err := netip.ParseAddr(ip)
	for err != nil || f.byAddr[addr] != nil {
		f.next++
		addr, err = netip.AddrFrom4([4]byte{127, byte(64 + f.next>>16&63), byte(f.next >> 8), byte(f.next)}), nil
	}
	p := newPod(f, uid, pool, addr)
	f.byAddr[addr], f.byName[name] = p, p
	p.name = name
	return addr.String()
}

// remove ends a pod, and its connections.
func (f *pods) remove(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p := f.byName[name]; p != nil {
		f.forget(p)
	}
}

// forget is remove with the lock held.
func (f *pods) forget(p *pod) {
	delete(f.byAddr, p.addr)
	delete(f.byName, p.name)
	p.stop()
}

// close ends all pods.
func (f *pods) close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.byName {
		f.forget(p)
	}
	return nil
}

// at is the pod that listens on a connection's local address; nil: none.
func (f *pods) at(local net.Addr) *pod {
	tcp, ok := local.(*net.TCPAddr)
	if !ok {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.byAddr[tcp.AddrPort().Addr().Unmap()]
}

// all are the pods now.
func (f *pods) all() []*pod {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := make([]*pod, 0, len(f.byName))
	for _, p := range f.byName {
		all = append(all, p)
	}
	return all
}

// controlServer serves the control API of all pods with the certificates of their pools.
func (f *pods) controlServer(secrets client.Reader, namespace string) *http.Server {
	certs := &certificates{secrets: secrets, namespace: namespace}
	return &http.Server{Handler: f.handler(), ReadHeaderTimeout: headerTime,
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS13, GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			p := f.at(hello.Conn.LocalAddr())
			if p == nil {
				return nil, errors.New("no pod has this address")
			}
			return certs.of(hello.Context(), p.pool)
		}}}
}

// certificates are those of the pools, each read once.
type certificates struct {
	secrets   client.Reader
	namespace string

	mu   sync.Mutex
	read map[string]*tls.Certificate
}

func (c *certificates) of(ctx context.Context, pool string) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if cert := c.read[pool]; cert != nil {
		return cert, nil
	}
	var secret corev1.Secret
	if err := c.secrets.Get(ctx, client.ObjectKey{Namespace: c.namespace, Name: pool + "-tls"}, &secret); err != nil {
		return nil, fmt.Errorf("reading the certificate of pool %s: %w", pool, err)
	}
	cert, err := tls.X509KeyPair(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey])
	if err != nil {
		return nil, fmt.Errorf("pairing the certificate of pool %s with its key: %w", pool, err)
	}
	if c.read == nil {
		c.read = map[string]*tls.Certificate{}
	}
	c.read[pool] = &cert
	return &cert, nil
}

// listener serves HTTP as a manager.Runnable.
type listener struct {
	address string
	pods    *pods // those that listen; nil: the server itself does
	server  *http.Server
}

// Start serves until ctx ends.
func (l *listener) Start(ctx context.Context) error {
	tcp, err := net.Listen("tcp4", l.address)
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = l.server.Close() })
	defer stop()
	if l.pods == nil {
		err = l.server.Serve(tcp)
	} else {
		err = l.server.ServeTLS(&podListener{tcp, l.pods}, "", "")
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// podListener takes connections to pods. Where there is no pod, or none any more, nobody
// listens.
type podListener struct {
	net.Listener
	pods *pods
}

func (l *podListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if p := l.pods.at(conn.LocalAddr()); p != nil && p.hold(conn) {
			return &podConn{conn, p}, nil
		}
		reset(conn)
	}
}

// reset ends a connection as the kernel does for a process that is gone.
func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// podConn is a connection to a pod.
type podConn struct {
	net.Conn
	pod *pod
}

func (c *podConn) Close() error {
	c.pod.release(c.Conn)
	return c.Conn.Close()
}
