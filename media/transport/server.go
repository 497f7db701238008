package transport

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"time"
)

const (
	defaultAssociateTimeout = 15 * time.Second
	defaultConsentTimeout   = 30 * time.Second // RFC 7675, section 5.1
	tickInterval            = time.Second
	listenAttempts          = 8
)

// Config is what a Server needs. Listen and Certificate are required.
type Config struct {
	// Listen is where UDP and TCP are listened on. With port 0 both get the same free port.
	Listen netip.AddrPort
	// Sockets is how many UDP sockets share the port, each read by a goroutine of its own. 0: one for each
	// processor that Go uses. It is 1 where the kernel does not spread clients among them.
	Sockets int
	// Advertise is told to clients, in this order; empty: Listen, which must then be specific.
	Advertise   []netip.AddrPort
	Certificate *Certificate
	Logger      *slog.Logger // nil: slog.Default()

	AssociateTimeout time.Duration // 0: 15 s, from the answer to the end of the handshake
	ConsentTimeout   time.Duration // 0: 30 s without an authenticated STUN request
}

// Server is the network side of a media pod. Its methods are safe for concurrent use.
type Server struct {
	cfg      Config
	log      *slog.Logger
	counters Counters
	local    netip.AddrPort
	sockets  []*udpSocket // never empty
	offload  offload
	tcp      *net.TCPListener

	mu         sync.RWMutex
	closed     bool
	candidates []string // of the next answer
	ufrags     map[string]*credential
	flows      map[flowKey]*Conn
	conns      map[*Conn]struct{}
	tcps       map[*tcpConn]struct{}

	wg   sync.WaitGroup // every goroutine
	stop chan struct{}
}

// Listen opens the sockets and starts serving. The caller must Close the Server.
func Listen(cfg Config) (*Server, error) {
	if cfg.Certificate == nil {
		return nil, errors.New("listen for media: a certificate is required")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.AssociateTimeout == 0 {
		cfg.AssociateTimeout = defaultAssociateTimeout
	}
	if cfg.ConsentTimeout == 0 {
		cfg.ConsentTimeout = defaultConsentTimeout
	}
	switch {
	case runtime.GOOS != "linux":
		cfg.Sockets = 1 // elsewhere one of them would get all
	case cfg.Sockets == 0:
		cfg.Sockets = runtime.GOMAXPROCS(0)
	}
	tcp, sockets, err := listen(&cfg)
	if err != nil {
		return nil, fmt.Errorf("listen for media on %s: %w", cfg.Listen, err)
	}
	local := tcp.Addr().(*net.TCPAddr).AddrPort()
	local = netip.AddrPortFrom(local.Addr().Unmap(), local.Port())
	if len(cfg.Advertise) == 0 {
		cfg.Advertise = []netip.AddrPort{local}
	}
	if err := checkAdvertise(cfg.Advertise); err != nil {
		closeUDP(sockets)
		_ = tcp.Close()
		return nil, fmt.Errorf("listen for media: %w", err)
	}
	s := &Server{
		cfg:        cfg,
		log:        cfg.Logger,
		candidates: candidateLines(cfg.Advertise),
		local:      local,
		sockets:    sockets,
		tcp:        tcp,
		ufrags:     map[string]*credential{},
		flows:      map[flowKey]*Conn{},
		conns:      map[*Conn]struct{}{},
		tcps:       map[*tcpConn]struct{}{},
		stop:       make(chan struct{}),
	}
	s.probe()
	for _, socket := range sockets {
		s.wg.Go(func() { s.readUDP(socket) })
	}
	s.wg.Go(s.acceptTCP)
	s.wg.Go(s.tick)
	return s, nil
}

// listen opens all sockets on one port number. TCP comes first, which nobody can share, so that no
// datagrams of another Server are taken. A free TCP port may be taken for UDP, hence the attempts when
// any port will do.
func listen(cfg *Config) (*net.TCPListener, []*udpSocket, error) {
	addr := cfg.Listen
	var last error
	for range listenAttempts {
		tcp, err := net.ListenTCP("tcp"+family(addr.Addr()), net.TCPAddrFromAddrPort(addr))
		if err != nil {
			return nil, nil, err
		}
		port := tcp.Addr().(*net.TCPAddr).AddrPort().Port()
		sockets, err := listenUDP(netip.AddrPortFrom(addr.Addr(), port), cfg.Sockets, cfg.Logger)
		if err == nil {
			return tcp, sockets, nil
		}
		_ = tcp.Close()
		if last = err; addr.Port() != 0 {
			break
		}
	}
	return nil, nil, last
}

// family keeps an IPv4 address on an IPv4 socket; an unspecified IPv6 one gets both families.
func family(a netip.Addr) string {
	if a.Is4() {
		return "4"
	}
	return ""
}

// Addr is the address of the sockets.
func (s *Server) Addr() netip.AddrPort { return s.local }

// Sockets is the number of UDP sockets, at least 1.
func (s *Server) Sockets() int { return len(s.sockets) }

// Counters are the Server's own; they go on counting.
func (s *Server) Counters() *Counters { return &s.counters }

// Len is the number of connections that have not ended.
func (s *Server) Len() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return len(s.conns)
}

// Close ends every connection with ErrServerClosed, closes the sockets and waits until every
// goroutine has ended and every Handler.Closed has returned. It must not be called by a Handler.
func (s *Server) Close() {
	s.mu.Lock()
	already := s.closed
	s.closed = true
	conns := make([]*Conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	s.mu.Unlock()
	if !already {
		close(s.stop)
		for _, c := range conns {
			c.Close(ErrServerClosed)
		}
		_ = s.tcp.Close()
		s.closeTCPs()
		closeUDP(s.sockets)
	}
	s.wg.Wait()
}

// tick does everything periodic, for all connections, until the Server is closed.
func (s *Server) tick() {
	ticker := time.NewTicker(tickInterval)
	defer ticker.Stop()
	for round := 0; ; round++ {
		select {
		case <-s.stop:
			return
		case now := <-ticker.C:
			s.expire(now)
			s.report(now, round)
		}
	}
}

// expire ends the connections that ran out of time.
func (s *Server) expire(now time.Time) {
	for _, c := range s.snapshot() {
		switch {
		case !c.connected.Load() && now.Sub(c.created) >= s.cfg.AssociateTimeout:
			s.counters.TimedOut.Add(1)
			c.Close(ErrTimeout)
		case c.connected.Load() && c.silence(now) >= s.cfg.ConsentTimeout:
			s.counters.Lost.Add(1)
			c.Close(ErrLost)
		}
	}
}

func (s *Server) snapshot() []*Conn {
	s.mu.RLock()
	defer s.mu.RUnlock()
	conns := make([]*Conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	return conns
}
