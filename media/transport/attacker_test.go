package transport

import (
	"context"
	"crypto/sha256"
	"net"
	"testing"
	"time"

	"github.com/pion/datachannel"
	"github.com/pion/dtls/v3"
	"github.com/pion/sctp"
	"github.com/pion/srtp/v3"
	"github.com/pion/transport/v5/packetio"

	"voiceroom.dev/voiceroom/media/transport/transporttest"
)

// attacker is a client that has all keys a client can have, and sends what it likes on every layer.
type attacker struct {
	*Conn
	handler *recorder
	socket  *net.UDPConn
	inbox   *packetio.Buffer // DTLS records from the server
	dtls    *dtls.Conn       // nil before the handshake
	out     *srtp.Context
}

// newAttacker is one that has passed a check, and not yet shaken hands. It has an uplink of Opus and RED, a slot with
// NACK, and a data channel. It goes when the test ends.
func newAttacker(t testing.TB, s *Server) *attacker {
	t.Helper()
	offer, err := ParseOffer([]byte(redAudio.Replace(offerOf(
		audio("0", "sendrecv", redLines, "a=extmap:1 "+levelURI+"\r\n", "a=rtcp-fb:111 nack\r\n"),
		"m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:1\r\n"))))
	if err != nil {
		t.Fatal(err)
	}
	offer.fingerprint = sha256.Sum256(attackerCertificate.tls.Certificate[0])
	a := &attacker{handler: newRecorder(), inbox: packetio.NewBuffer()}
	if a.Conn, _, err = s.Accept(offer, a.handler); err != nil {
		t.Fatal(err)
	}
	if a.socket, err = net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(s.Addr())); err != nil {
		t.Fatal(err)
	}
	answered, read := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(read)
		a.read(answered)
	}()
	t.Cleanup(func() {
		a.leave()
		_ = a.socket.Close()
		<-read
	})
	a.send(t, request(a.ice.current, a.ice.current.pwd, useCandidate()))
	transporttest.Receive(t, answered, "the answer to a check")
	return a
}

var attackerCertificate = func() *Certificate {
	c, err := NewCertificate()
	if err != nil {
		panic(err)
	}
	return c
}()

// read sorts what the server sends until the socket is closed.
func (a *attacker) read(answered chan<- struct{}) {
	buf := make([]byte, maxDatagram)
	for {
		n, err := a.socket.Read(buf)
		switch {
		case err != nil:
			_ = a.inbox.Close()
			return
		case n > 0 && buf[0] <= 3 && answered != nil:
			close(answered)
			answered = nil
		case n > 0 && buf[0] >= 20 && buf[0] <= 63:
			_, _ = a.inbox.Write(buf[:n], nil)
		}
	}
}

func (a *attacker) send(t testing.TB, datagram []byte) {
	t.Helper()
	if _, err := a.socket.Write(datagram); err != nil {
		t.Fatal(err)
	}
}

// shake shakes hands, and waits until the server listens.
func (a *attacker) shake(t testing.TB) {
	t.Helper()
	d, err := dtls.ClientWithOptions(attackerConn{a}, a.socket.RemoteAddr(),
		dtls.WithCertificates(attackerCertificate.tls),
		dtls.WithSRTPProtectionProfiles(dtls.SRTP_AEAD_AES_128_GCM),
		dtls.WithExtendedMasterSecret(dtls.RequireExtendedMasterSecret),
		dtls.WithInsecureSkipVerify(true),
		dtls.WithLoggerFactory(quiet))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), transporttest.Patience)
	defer cancel()
	a.dtls = d
	if err := d.HandshakeContext(ctx); err != nil {
		t.Fatalf("handshake: %v", err)
	}
	state, _ := d.ConnectionState()
	cfg := srtp.Config{Profile: srtp.ProtectionProfileAeadAes128Gcm}
	if err := cfg.ExtractSessionKeysFromDTLS(&state, true); err != nil {
		t.Fatal(err)
	}
	if a.out, err = srtp.CreateContext(cfg.Keys.LocalMasterKey, cfg.Keys.LocalMasterSalt, cfg.Profile); err != nil {
		t.Fatal(err)
	}
	transporttest.Receive(t, a.handler.connected, "the connection")
	waitUntilOn(t, a.Conn)
}

// waitUntilOn waits until what the client sends is not early any more.
func waitUntilOn(t testing.TB, c *Conn) {
	t.Helper()
	waitFor(t, "receiving", func() uint64 {
		c.recv.mu.Lock()
		defer c.recv.mu.Unlock()
		if c.recv.on {
			return 1
		}
		return 0
	}, 1)
}

// associate shakes hands over SCTP.
func (a *attacker) associate(t testing.TB) *sctp.Association {
	t.Helper()
	association, err := sctp.ClientWithOptions(sctp.WithNetConn(a.dtls), sctp.WithLoggerFactory(quiet))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = association.Close() })
	return association
}

// open opens a data channel.
func (a *attacker) open(t testing.TB, label string) *datachannel.DataChannel {
	t.Helper()
	channel, err := datachannel.Dial(a.associate(t), 1, &datachannel.Config{Label: label, LoggerFactory: quiet})
	if err != nil {
		t.Fatal(err)
	}
	return channel
}

// write sends a message and waits until it has come.
func (a *attacker) write(t testing.TB, channel *datachannel.DataChannel, message string) {
	t.Helper()
	if _, err := channel.WriteDataChannel([]byte(message), true); err != nil {
		t.Fatal(err)
	}
	if got := transporttest.Receive(t, a.handler.messages, "the message"); got != message {
		t.Errorf("got %q, want %q", got, message)
	}
}

// leave ends the connection from the client's side, and waits until the server has ended it.
func (a *attacker) leave() {
	if a.dtls != nil {
		_ = a.dtls.Close()
	}
	a.Close(ErrPeerClosed)
}

// attackerConn is the DTLS share of its socket.
type attackerConn struct{ *attacker }

func (c attackerConn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, _, err := c.inbox.Read(b, nil)
	return n, c.socket.RemoteAddr(), err
}

func (c attackerConn) WriteTo(b []byte, _ net.Addr) (int, error) { return c.socket.Write(b) }
func (c attackerConn) Close() error                              { return c.inbox.Close() }
func (c attackerConn) LocalAddr() net.Addr                       { return c.socket.LocalAddr() }
func (c attackerConn) SetDeadline(t time.Time) error             { return c.inbox.SetReadDeadline(t) }
func (c attackerConn) SetReadDeadline(t time.Time) error         { return c.inbox.SetReadDeadline(t) }
func (c attackerConn) SetWriteDeadline(time.Time) error          { return nil }
