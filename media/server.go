package media

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"voiceroom.dev/voiceroom/media/mix"
	"voiceroom.dev/voiceroom/media/transport"
	"voiceroom.dev/voiceroom/token"
)

const (
	reloadEvery  = 2 * time.Second
	requestTime  = 10 * time.Second // to read a request, and to write an answer
	idleTime     = 2 * time.Minute
	shutdownTime = 2 * time.Second
)

// MaxAudienceTick is the longest Config.AudienceTick: three frames of Opus at 20 ms.
const MaxAudienceTick = 60 * time.Millisecond

// Config is what a Server needs. What says "empty", "nil" or "0" may be left out.
type Config struct {
	PodUID  string
	Control string // "ip:port" of the control API
	Health  string // "ip:port" of health and metrics
	Media   netip.AddrPort
	// Advertise is what clients are told until the room brings other addresses; empty: Media.
	Advertise []netip.AddrPort
	KeysDir   string // holds mediaapi.TokensFile, OperatorFile and GatewayFile
	TLSDir    string // holds tls.crt and tls.key

	// AudienceTick is how often who holds no microphone is sent what was said since: what has gathered
	// leaves in one run, which costs less per packet the longer it is, and has waited for half the tick on
	// average. At most MaxAudienceTick; 0: everybody is sent each packet at once.
	AudienceTick time.Duration

	// Codec decodes, and encodes the mix of, a room whose audience hears one; nil: there is none, and its audience
	// hears what is forwarded.
	Codec mix.Codec

	Logger           *slog.Logger     // nil: slog.Default()
	Now              func() time.Time // of tokens, leases and the room; nil: time.Now
	AssociateTimeout time.Duration    // 0: transport's default
	ConsentTimeout   time.Duration    // 0: transport's default
}

// Server is a media pod. New opens its sockets, Run serves and closes them.
type Server struct {
	log         *slog.Logger
	transport   *transport.Server
	keeper      *keeper
	keyring     *keyring
	certificate *certificate
	metrics     *metrics

	control, health                 *http.Server
	controlListener, healthListener net.Listener
	draining                        chan struct{} // closed when it is not ready any more
	drainOnce                       sync.Once
}

// New opens the listeners. The caller must call Run, which closes them.
func New(cfg Config) (*Server, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Server{log: cfg.Logger, keyring: newKeyring(cfg.KeysDir, cfg.Now), certificate: &certificate{dir: cfg.TLSDir},
		metrics: newMetrics(), draining: make(chan struct{})}
	s.reload()
	if err := s.listen(cfg); err != nil {
		return nil, err
	}
	forwarder := newForwarder(cfg.AudienceTick, s.transport.Sockets(), s.transport.NewBatch)
	forwarder.codec = cfg.Codec
	s.keeper = newKeeper(cfg.Logger, cfg.Now, s.transport, forwarder, s.metrics, s.keyring.trusts)
	s.keyring.distrust = s.keeper.distrust
	s.metrics.registry.MustRegister(certificateMetric(s.certificate), &packetCollector{s.keeper.forwarder, s.transport.Counters()})
	a := &api{log: cfg.Logger, podUID: cfg.PodUID, keeper: s.keeper, keyring: s.keyring, metrics: s.metrics,
		tokens: token.NewVerifier(s.keyring.tokens.current.Load, cfg.Now)}
	errorLog := slog.NewLogLogger(cfg.Logger.Handler(), slog.LevelDebug) // handshakes that scanners break off
	s.control = &http.Server{Handler: traced(a.handler()), ErrorLog: errorLog,
		ReadHeaderTimeout: requestTime, ReadTimeout: requestTime, WriteTimeout: requestTime, IdleTimeout: idleTime,
		TLSConfig: &tls.Config{MinVersion: tls.VersionTLS13, GetCertificate: s.certificate.get}}
	s.health = &http.Server{Handler: s.healthHandler(), ErrorLog: errorLog,
		ReadHeaderTimeout: requestTime, ReadTimeout: requestTime, WriteTimeout: requestTime, IdleTimeout: idleTime}
	return s, nil
}

// listen opens the sockets, all or none.
func (s *Server) listen(cfg Config) error {
	dtls, err := transport.NewCertificate()
	if err != nil {
		return err
	}
	if s.controlListener, err = net.Listen("tcp", cfg.Control); err != nil {
		return fmt.Errorf("listening for control calls: %w", err)
	}
	if s.healthListener, err = net.Listen("tcp", cfg.Health); err != nil {
		_ = s.controlListener.Close()
		return fmt.Errorf("listening for probes: %w", err)
	}
	s.transport, err = transport.Listen(transport.Config{Listen: cfg.Media, Advertise: cfg.Advertise, Certificate: dtls,
		Logger: cfg.Logger, AssociateTimeout: cfg.AssociateTimeout, ConsentTimeout: cfg.ConsentTimeout})
	if err != nil {
		_, _ = s.controlListener.Close(), s.healthListener.Close()
		return err
	}
	return nil
}

// ControlAddr is the address of the control API.
func (s *Server) ControlAddr() string { return s.controlListener.Addr().String() }

// HealthAddr is the address of health and metrics.
func (s *Server) HealthAddr() string { return s.healthListener.Addr().String() }

// MediaAddr is the address of UDP and ICE-TCP.
func (s *Server) MediaAddr() netip.AddrPort { return s.transport.Addr() }

func (s *Server) reload() {
	s.keyring.reload(s.log)
	s.certificate.reload(s.log)
}

// Run serves until ctx is done, or until the pod's work is done (see the package's
// documentation, and Drain); clients are told, and everything is closed when it returns. It is
// called once.
func (s *Server) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	failed := make(chan error, 2)
	var servers, reloads sync.WaitGroup
	servers.Go(func() { failed <- s.control.ServeTLS(s.controlListener, "", "") })
	servers.Go(func() { failed <- s.health.Serve(s.healthListener) })
	reloads.Go(func() { s.reloadUntil(ctx) })
	go s.keeper.run()
	s.log.Info("the media server is up", "control", s.ControlAddr(), "health", s.HealthAddr(), "media", s.MediaAddr())

	var err error
	select {
	case <-ctx.Done():
	case <-s.keeper.ended:
	case err = <-failed:
		err = fmt.Errorf("serving HTTP: %w", err)
	}
	s.log.Info("the media server stops", "error", err)
	s.unready()
	cancel()
	reloads.Wait()
	s.keeper.shutdown()
	s.keeper.finish() // watchers end
	err = errors.Join(err, shut(s.control), shut(s.health))
	servers.Wait()
	s.transport.Close()
	s.keeper.forwarder.stop()
	s.keeper.stop()
	return err
}

// Drain makes the server unready, and end once nobody is connected to it: the pod is to go, and
// whoever is in the room has time to move. Meanwhile it serves everything as before. It may be
// called from any goroutine while Run runs, more than once.
func (s *Server) Drain() {
	s.unready()
	s.keeper.drain()
}

func (s *Server) unready() { s.drainOnce.Do(func() { close(s.draining) }) }

// shut lets requests finish, for a moment.
func shut(server *http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTime)
	defer cancel()
	err := server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = server.Close()
	}
	return err
}

// reloadUntil reads keys and certificate when their files change. Polling sees what
// a watch of a projected volume's swapped symlinks easily misses.
func (s *Server) reloadUntil(ctx context.Context) {
	ticker := time.NewTicker(reloadEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			s.reload()
		}
	}
}
