//go:build linux

package client

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"

	"github.com/pion/stun/v4"
)

const (
	checkAgain = 50 * time.Millisecond // without an answer; RFC 8445, section 14
	priority   = 126<<24 | 65535<<8 | 255
)

// ice is the client's part of ICE: one candidate, one pair, which it nominates with every check.
type ice struct {
	ufrag, pwd string
	tiebreaker [8]byte
	answered   chan struct{} // of capacity 1
}

func newICE() ice {
	i := ice{ufrag: rand.Text()[:8], pwd: rand.Text(), answered: make(chan struct{}, 1)}
	_, _ = rand.Read(i.tiebreaker[:])
	return i
}

// check checks until the server answers.
func (c *Client) check(ctx context.Context) error {
	again := time.NewTicker(checkAgain)
	defer again.Stop()
	for {
		if err := c.sendCheck(); err != nil {
			return fmt.Errorf("checking the way to the server: %w", err)
		}
		select {
		case <-c.ice.answered:
			return nil
		case <-again.C:
		case <-ctx.Done():
			return fmt.Errorf("the server at %v answers no checks: %w", c.answer.server, ctx.Err())
		}
	}
}

func (c *Client) sendCheck() error {
	m, err := stun.Build(stun.TransactionID, stun.BindingRequest, stun.NewUsername(c.answer.ufrag+":"+c.ice.ufrag),
		stun.RawAttribute{Type: stun.AttrICEControlling, Value: c.ice.tiebreaker[:]},
		stun.RawAttribute{Type: stun.AttrUseCandidate},
		stun.RawAttribute{Type: stun.AttrPriority, Value: binary.BigEndian.AppendUint32(nil, priority)},
		stun.NewShortTermIntegrity(c.answer.pwd), stun.Fingerprint)
	if err != nil {
		return fmt.Errorf("building a check: %w", err)
	}
	return c.write(m.Raw)
}

// binding takes one STUN message: an answer or, of a server that is not ICE-lite, a check.
func (c *Client) binding(b []byte, from netip.AddrPort) {
	m := &stun.Message{Raw: append([]byte(nil), b...)}
	if m.Decode() != nil {
		return
	}
	switch m.Type {
	case stun.BindingSuccess:
		select {
		case c.ice.answered <- struct{}{}:
		default:
		}
	case stun.BindingRequest:
		integrity := stun.NewShortTermIntegrity(c.ice.pwd)
		if integrity.Check(m) != nil {
			return
		}
		if response, err := stun.Build(stun.NewTransactionIDSetter(m.TransactionID), stun.BindingSuccess,
			&stun.XORMappedAddress{IP: from.Addr().AsSlice(), Port: int(from.Port())}, integrity, stun.Fingerprint); err == nil {
			_ = c.writeTo(response.Raw, from) // it checks again
		}
	}
}
