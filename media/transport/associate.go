package transport

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/logging"
	"github.com/pion/srtp/v3"
	"github.com/pion/transport/v5/packetio"
)

const (
	// dtlsQueue bounds the DTLS records that wait for a connection to read them, in bytes.
	dtlsQueue = 64 << 10
	// replayWindow is how many packets late an SRTP packet may come: about 5 s of audio.
	replayWindow = 256
)

// dtlsLayer is the DTLS association and the records that wait for it.
type dtlsLayer struct {
	in   *packetio.Buffer
	conn atomic.Pointer[dtls.Conn] // nil until the first check
}

func (l *dtlsLayer) init() {
	l.in = packetio.NewBuffer()
	l.in.SetLimitSize(dtlsQueue)
}

// quiet keeps the libraries from logging what clients do wrong; it is counted instead.
var quiet = &logging.DefaultLoggerFactory{Writer: io.Discard, DefaultLogLevel: logging.LogLevelDisabled}

// associate is the connection's own goroutine, from the first check to the end.
func (c *Conn) associate(ctx context.Context) {
	c.Close(c.run(ctx))
	c.finish()
}

// run shakes hands and then serves the data channel until the connection ends.
func (c *Conn) run(ctx context.Context) error {
	d, err := c.handshake(ctx)
	if err != nil {
		return err
	}
	if err := c.setKeys(d); err != nil {
		return err
	}
	c.connected.Store(true)
	c.server.counters.Connected.Add(1)
	c.handler.Connected()
	c.recv.start()
	if c.offer.HasData() {
		return c.serveData(d)
	}
	return drain(d)
}

func (c *Conn) handshake(ctx context.Context) (*dtls.Conn, error) {
	var mismatch atomic.Bool
	verify := func(raw [][]byte, _ [][]*x509.Certificate) error {
		if len(raw) > 0 {
			if sum := sha256.Sum256(raw[0]); subtle.ConstantTimeCompare(sum[:], c.offer.fingerprint[:]) == 1 {
				return nil
			}
		}
		mismatch.Store(true)
		return ErrFingerprint
	}
	d, err := dtls.ServerWithOptions(packetConn{c}, net.UDPAddrFromAddrPort(c.Remote()),
		dtls.WithCertificates(c.server.cfg.Certificate.tls),
		dtls.WithSRTPProtectionProfiles(dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80),
		dtls.WithExtendedMasterSecret(dtls.RequireExtendedMasterSecret),
		// The fingerprint is all there is to verify (RFC 8122); a cookie proves nothing that the
		// authenticated check has not proven.
		dtls.WithClientAuth(dtls.RequireAnyClientCert),
		dtls.WithInsecureSkipVerify(true),
		dtls.WithInsecureSkipVerifyHello(true),
		dtls.WithVerifyPeerCertificate(verify),
		dtls.WithLoggerFactory(quiet),
	)
	if err == nil {
		c.dtls.conn.Store(d)
		err = d.HandshakeContext(ctx)
	}
	switch {
	case err == nil:
		return d, nil
	case mismatch.Load():
		c.server.counters.FingerprintMismatch.Add(1)
		err = ErrFingerprint
	default:
		err = fmt.Errorf("%w: %w", ErrHandshake, err)
	}
	if !c.closed.Load() {
		c.server.counters.DTLSFailed.Add(1)
	}
	return nil, err
}

// setKeys derives the SRTP keys of both directions (RFC 5764, section 4.2).
func (c *Conn) setKeys(d *dtls.Conn) error {
	state, ok := d.ConnectionState()
	profile, chosen := d.SelectedSRTPProtectionProfile()
	if !ok || !chosen {
		return fmt.Errorf("%w: the client uses no SRTP profile", ErrHandshake)
	}
	cfg := srtp.Config{Profile: srtp.ProtectionProfile(profile)}
	if err := cfg.ExtractSessionKeysFromDTLS(&state, false); err != nil {
		return fmt.Errorf("%w: derive SRTP keys: %w", ErrHandshake, err)
	}
	in, err := srtp.CreateContext(cfg.Keys.RemoteMasterKey, cfg.Keys.RemoteMasterSalt, cfg.Profile,
		srtp.SRTPReplayProtection(replayWindow), srtp.SRTCPReplayProtection(replayWindow))
	if err != nil {
		return fmt.Errorf("%w: unprotect SRTP: %w", ErrHandshake, err)
	}
	out, err := srtp.CreateContext(cfg.Keys.LocalMasterKey, cfg.Keys.LocalMasterSalt, cfg.Profile)
	if err != nil {
		return fmt.Errorf("%w: protect SRTCP: %w", ErrHandshake, err)
	}
	c.recv.setContext(in)
	c.rtcp.setContext(out)
	c.keys.Store(&Keys{Profile: cfg.Profile, Master: cfg.Keys.LocalMasterKey, Salt: cfg.Keys.LocalMasterSalt})
	return nil
}

// drain waits for the end of a connection without a data channel.
func drain(d *dtls.Conn) error {
	buf := make([]byte, maxDatagram)
	for {
		if _, err := d.Read(buf); err != nil {
			return ended(err)
		}
	}
}

// ended names the end of a DTLS connection that nobody here asked for.
func ended(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe) {
		return ErrPeerClosed
	}
	return fmt.Errorf("%w: %w", ErrPeerClosed, err)
}

// recordHead is the size of a DTLS record's header (RFC 6347, section 4.1).
const recordHead = 13

// isRecord says whether b begins with a whole DTLS record.
func isRecord(b []byte) bool {
	return len(b) >= recordHead && b[1] == 254 && recordHead+int(binary.BigEndian.Uint16(b[recordHead-2:])) <= len(b)
}

// receiveDTLS queues the records of a datagram for the connection's own goroutine. b is copied.
func (c *Conn) receiveDTLS(b []byte) {
	if !isRecord(b) {
		c.server.counters.DroppedMalformed.Add(1)
		return
	}
	if _, err := c.dtls.in.Write(b, nil); err != nil {
		c.server.counters.DroppedDTLS.Add(1)
	}
}

// packetConn is the DTLS share of a connection, as the dtls package wants it.
type packetConn struct{ c *Conn }

func (p packetConn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, _, err := p.c.dtls.in.Read(b, nil)
	return n, net.UDPAddrFromAddrPort(p.c.Remote()), err
}

// WriteTo drops what the socket has no room for, as a network would: DTLS and SCTP send again.
func (p packetConn) WriteTo(b []byte, _ net.Addr) (int, error) {
	if err := p.c.write(b); err != nil && !errors.Is(err, ErrWouldBlock) {
		return 0, err
	}
	return len(b), nil
}

func (p packetConn) Close() error                      { return p.c.dtls.in.Close() }
func (p packetConn) LocalAddr() net.Addr               { return net.UDPAddrFromAddrPort(p.c.server.local) }
func (p packetConn) SetDeadline(t time.Time) error     { return p.c.dtls.in.SetReadDeadline(t) }
func (p packetConn) SetReadDeadline(t time.Time) error { return p.c.dtls.in.SetReadDeadline(t) }
func (p packetConn) SetWriteDeadline(time.Time) error  { return nil } // writes never wait
