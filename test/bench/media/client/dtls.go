//go:build linux

package client

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/pion/datachannel"
	"github.com/pion/dtls/v3"
	"github.com/pion/logging"
	"github.com/pion/sctp"
	"github.com/pion/srtp/v3"
)

const (
	// label is the one data channel's, and maxMessage what it takes, in bytes.
	label      = "room"
	maxMessage = 256 << 10
)

var quiet = &logging.DefaultLoggerFactory{Writer: io.Discard, DefaultLogLevel: logging.LogLevelDisabled}

// identity is a certificate, the same for all clients of the process: making one for each proves nothing.
type identity struct {
	certificate tls.Certificate
	fingerprint string
}

var certificate = sync.OnceValues(func() (identity, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return identity{}, fmt.Errorf("making a client's key: %w", err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return identity{}, fmt.Errorf("making a client's certificate: %w", err)
	}
	return identity{tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, fingerprint(der)}, nil
})

// fingerprint is the SHA-256 of a certificate as SDP writes it (RFC 8122).
func fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	return strings.ReplaceAll(fmt.Sprintf("% X", sum[:]), " ", ":")
}

// associate shakes hands, derives the keys of SRTP, and opens the data channel.
func (c *Client) associate(ctx context.Context) error {
	own, err := certificate()
	if err != nil {
		return err
	}
	verify := func(raw [][]byte, _ [][]*x509.Certificate) error {
		if len(raw) == 0 || fingerprint(raw[0]) != c.answer.fingerprint {
			return errors.New("the server's certificate is not the one of its answer")
		}
		return nil
	}
	d, err := dtls.ClientWithOptions(packetConn{c}, net.UDPAddrFromAddrPort(c.answer.server),
		dtls.WithCertificates(own.certificate),
		dtls.WithSRTPProtectionProfiles(dtls.SRTP_AEAD_AES_128_GCM),
		dtls.WithExtendedMasterSecret(dtls.RequireExtendedMasterSecret),
		dtls.WithInsecureSkipVerify(true), // the fingerprint is all there is to verify
		dtls.WithVerifyPeerCertificate(verify),
		dtls.WithLoggerFactory(quiet))
	if err != nil {
		return fmt.Errorf("setting DTLS up: %w", err)
	}
	c.dtls.Store(d)
	if err := d.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("shaking hands: %w", err)
	}
	if err := c.setKeys(d); err != nil {
		return err
	}
	if !c.opts.Data {
		c.running.Go(func() { _, _ = io.Copy(io.Discard, d) })
		return nil
	}
	return c.openChannel(ctx, d)
}

func (c *Client) setKeys(d *dtls.Conn) error {
	state, ok := d.ConnectionState()
	profile, chosen := d.SelectedSRTPProtectionProfile()
	if !ok || !chosen {
		return errors.New("the server chose no SRTP profile")
	}
	cfg := srtp.Config{Profile: srtp.ProtectionProfile(profile)}
	if err := cfg.ExtractSessionKeysFromDTLS(&state, true); err != nil {
		return fmt.Errorf("deriving SRTP keys: %w", err)
	}
	in, err := srtp.CreateContext(cfg.Keys.RemoteMasterKey, cfg.Keys.RemoteMasterSalt, cfg.Profile)
	if err != nil {
		return fmt.Errorf("setting SRTP up: %w", err)
	}
	out, err := srtp.CreateContext(cfg.Keys.LocalMasterKey, cfg.Keys.LocalMasterSalt, cfg.Profile)
	if err != nil {
		return fmt.Errorf("setting SRTP up: %w", err)
	}
	c.mu.Lock()
	c.open = in
	c.mu.Unlock()
	c.out.Lock()
	c.seal = out
	c.out.Unlock()
	return nil
}

// openChannel opens the data channel, and then takes and drops what the server says on it.
func (c *Client) openChannel(ctx context.Context, d *dtls.Conn) error {
	association, err := sctp.ClientContext(ctx, sctp.WithNetConn(d), sctp.WithMaxMessageSize(maxMessage),
		sctp.WithEnableZeroChecksum(true), sctp.WithLoggerFactory(quiet))
	if err != nil {
		return fmt.Errorf("associating over SCTP: %w", err)
	}
	channel, err := datachannel.Dial(association, 0, &datachannel.Config{Label: label, LoggerFactory: quiet})
	if err != nil {
		return errors.Join(fmt.Errorf("opening the data channel: %w", err), association.Close())
	}
	opened := make(chan struct{})
	channel.OnOpen(func() { close(opened) })
	ended := make(chan error, 1)
	c.running.Go(func() {
		defer func() { _ = association.Close() }()
		for buf := make([]byte, maxMessage); ; {
			n, _, err := channel.ReadDataChannel(buf)
			if err != nil {
				ended <- err
				return
			}
			c.message(n)
		}
	})
	select {
	case <-opened:
		return nil
	case err := <-ended:
		return fmt.Errorf("opening the data channel: %w", err)
	case <-ctx.Done():
		return fmt.Errorf("opening the data channel: %w", ctx.Err())
	}
}

// packetConn is the share of DTLS in the socket.
type packetConn struct{ c *Client }

func (p packetConn) ReadFrom(b []byte) (int, net.Addr, error) {
	n, _, err := p.c.dtlsIn.Read(b, nil)
	return n, net.UDPAddrFromAddrPort(p.c.answer.server), err
}

func (p packetConn) WriteTo(b []byte, _ net.Addr) (int, error) {
	return len(b), p.c.write(b)
}

func (p packetConn) Close() error                      { return p.c.dtlsIn.Close() }
func (p packetConn) LocalAddr() net.Addr               { return p.c.socket.LocalAddr() }
func (p packetConn) SetDeadline(t time.Time) error     { return p.c.dtlsIn.SetReadDeadline(t) }
func (p packetConn) SetReadDeadline(t time.Time) error { return p.c.dtlsIn.SetReadDeadline(t) }
func (p packetConn) SetWriteDeadline(time.Time) error  { return nil } // loopback takes it at once
