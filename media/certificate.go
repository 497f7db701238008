package media

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
)

// certificate is the pair of the control listener, read again when its files change.
type certificate struct {
	dir     string
	current atomic.Pointer[tls.Certificate]
	read    []byte // both files as they were last read
}

var errNoCertificate = errors.New("no certificate yet")

// get implements tls.Config.GetCertificate.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if pair := c.current.Load(); pair != nil {
		return pair, nil
	}
	return nil, errNoCertificate
}

func (c *certificate) ready() bool { return c.current.Load() != nil }

// reload reads the files if they changed. It is called by one goroutine.
func (c *certificate) reload(log *slog.Logger) {
	if err := c.load(); err != nil {
		log.Error("the certificate stays as it was", "error", err)
	}
}

func (c *certificate) load() error {
	cert, err := os.ReadFile(filepath.Join(c.dir, "tls.crt"))
	if errors.Is(err, os.ErrNotExist) {
		return nil // not projected yet; readiness says so
	}
	if err != nil {
		return fmt.Errorf("reading the certificate: %w", err)
	}
	key, err := os.ReadFile(filepath.Join(c.dir, "tls.key"))
	if err != nil {
		return fmt.Errorf("reading the certificate's key: %w", err)
	}
	both := bytes.Join([][]byte{cert, key}, nil)
	if bytes.Equal(both, c.read) {
		return nil
	}
	c.read = both // said once, however often it is read
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return fmt.Errorf("pairing the certificate with its key: %w", err)
	}
	c.current.Store(&pair)
	return nil
}
