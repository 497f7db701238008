package signingkeys

import (
	"fmt"
	"io"
	"slices"
	"time"

	"voiceroom.dev/voiceroom/token"
)

// Tickets mints tickets, and knows later whether they still open anything. Safe for
// concurrent use.
type Tickets struct {
	keyring  *Keyring
	minter   *token.Minter
	verifier *token.Verifier
}

// NewTickets makes the tickets that the keys of a keyring sign.
func NewTickets(keyring *Keyring, now func() time.Time, rand io.Reader) *Tickets {
	return &Tickets{keyring: keyring, minter: token.NewMinter(keyring.Tokens, now, rand),
		verifier: token.NewVerifier(func() *token.PublicSet { return keyring.Tokens().Public() }, now)}
}

// Mint signs a ticket and returns it, a secret, with the ID of the key that signed it.
func (t *Tickets) Mint(of token.Ticket) (ticket, key string, err error) {
	if ticket, err = t.minter.Ticket(of); err != nil {
		return "", "", err
	}
	signed, err := t.verifier.Ticket(ticket)
	if err != nil { // the keys were replaced this instant
		return "", "", fmt.Errorf("looking at a ticket just signed: %w", err)
	}
	return ticket, signed.Key, nil
}

// Revoked says that nothing a key signed can be used any more. Before the keys were read
// it says so of none.
func (t *Tickets) Revoked(key string) bool {
	ring := t.keyring.Tokens()
	return ring != nil && !slices.ContainsFunc(ring.Keys, func(k token.Key) bool { return k.ID == key })
}
