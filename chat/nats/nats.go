// Package nats is the default chat back end: groups, members and messages on
// NATS JetStream (nats-server 2.11 or newer).
//
// # What is stored
//
// Two streams hold everything, whatever the number of groups:
//
//	<name>-state     <name>.group.<hash of the key>         one record per group
//	                 <name>.member.<group ID>.<hash>        one record per member
//	<name>-messages  <name>.message.<group ID>              the newest messages of each group
//
// Names that callers choose never reach a subject: they are hashed, and kept in
// full in the record. The state stream keeps one message per subject, so a
// record's stream sequence is its revision. Every change states the revision
// that it replaces, and a record is removed by deleting exactly that sequence,
// so no change is lost and nothing but records is left to count.
//
// # Identity
//
// A group's ID is the hash of its key followed by 120 random bits. Creating a
// group is therefore a single create-only write, atomic without a second index
// record that could be left behind half-way, and a deleted group's ID is never
// matched by a later group of the same key.
//
// # Deletion
//
// DeleteGroup first seals the record, from when on every call answers
// ErrNotFound, then ends subscriptions, purges messages and members, and removes
// the record last. If it is cut short, the sealed record remembers that, and the
// next DeleteGroup, CreateGroup of that key or ListGroups goes on. A writer that
// raced with the seal looks again after its write and takes it back.
//
// # Durability and cost
//
// An answer means that the change is on disk if the server syncs always, as
// package natsserver does (in a cluster: that a quorum has it). AddMember is one
// synced write and two reads, RemoveMember one write and two reads. Group is two
// reads; the server walks the group's members to count them, under 10 ms for
// 10,000. Members and History page through stored records without a consumer.
//
// With more than one replica a page may come from one that lags behind; which
// members exist, and how far messages go, is always the leader's word.
package nats

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"voiceroom.dev/voiceroom/chat"
)

// Config says where the NATS server is and how to use it. Only URL is required.
type Config struct {
	URL    string // nats://host:4222 or tls://host:4222; several are separated by commas
	Client string // shown in the server's list of connections

	// At most one kind of credentials. A newline at the end is a file's, and ignored.
	User, Password string
	Token          string
	Creds          []byte // contents of a .creds file: a user's JWT and seed

	CA []byte // PEM certificates to trust instead of the system's

	Name     string // prefix of streams and subjects: letters, digits, - and _ (default "voiceroom")
	Replicas int    // copies of each stream in a cluster (default 1)
	History  int64  // newest messages kept per group (default 1000)

	Timeout       time.Duration // longest a call may take unless its ctx ends sooner (default 5s)
	ReconnectWait time.Duration // between attempts to reconnect, which never end (default 500ms)

	Log  *slog.Logger     // default: discard
	Now  func() time.Time // default: time.Now
	Rand io.Reader        // of group IDs, default: crypto/rand
}

func (c Config) withDefaults() Config {
	if c.Name == "" {
		c.Name = "voiceroom"
	}
	c.Password, c.Token = strings.TrimRight(c.Password, "\r\n"), strings.TrimRight(c.Token, "\r\n")
	if c.Client == "" {
		c.Client = c.Name
	}
	if c.Replicas == 0 {
		c.Replicas = 1
	}
	if c.History == 0 {
		c.History = 1000
	}
	if c.Timeout == 0 {
		c.Timeout = 5 * time.Second
	}
	if c.ReconnectWait == 0 {
		c.ReconnectWait = 500 * time.Millisecond
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	return c
}

func (c Config) validate() error {
	kinds := 0
	for _, set := range []bool{c.User != "" || c.Password != "", c.Token != "", len(c.Creds) > 0} {
		if set {
			kinds++
		}
	}
	switch {
	case c.URL == "":
		return fmt.Errorf("%w: URL is empty", chat.ErrInvalid)
	case kinds > 1:
		return fmt.Errorf("%w: more than one kind of credentials", chat.ErrInvalid)
	case !validName(c.Name):
		return fmt.Errorf("%w: name %q is not made of letters, digits, - and _", chat.ErrInvalid, c.Name)
	case c.Replicas < 1 || c.History < 1 || c.Timeout < 0 || c.ReconnectWait < 0:
		return fmt.Errorf("%w: replicas, history and durations must be positive", chat.ErrInvalid)
	}
	return nil
}

// Provider is a chat.Provider on NATS JetStream. Make one with New.
type Provider struct {
	cfg  Config
	link *link
}

var _ chat.Provider = (*Provider)(nil)

// New returns a Provider that connects, and reconnects, for as long as it is
// open. It waits for a first attempt, 2 s at most. A server that cannot be
// reached is no error here: calls answer ErrUnavailable until it can. Errors are
// of the configuration.
func New(cfg Config) (*Provider, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("configure chat on NATS: %w", err)
	}
	l, err := dial(cfg)
	if err != nil {
		return nil, fmt.Errorf("configure chat on NATS: %w", err)
	}
	return &Provider{cfg: cfg, link: l}, nil
}

// Capabilities implements chat.Provider.
func (p *Provider) Capabilities() chat.Capabilities {
	return chat.Capabilities{History: true, Subscribe: true, Durable: true}
}

// Check implements chat.Provider: it writes a record and waits until it is stored.
func (p *Provider) Check(ctx context.Context) error {
	return p.call(ctx, "check chat", func(ctx context.Context, st *store) error {
		_, err := st.js.Publish(ctx, st.names.check(), nil)
		return err
	})
}

// Close implements chat.Provider. It returns when the connection is closed.
func (p *Provider) Close() error {
	p.link.close()
	return nil
}

// call runs one operation on a live connection within the configured timeout,
// and turns what goes wrong into the errors of package chat.
func (p *Provider) call(ctx context.Context, doing string, op func(context.Context, *store) error) error {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	defer cancel()
	if err := p.link.use(ctx, op); err != nil {
		return fmt.Errorf("%s: %w", doing, classify(err))
	}
	return nil
}

// classify maps an error of NATS to one of package chat. What is not known to
// be final is worth a retry.
func classify(err error) error {
	for _, known := range []error{chat.ErrNotFound, chat.ErrUnavailable, chat.ErrDenied, chat.ErrInvalid} {
		if errors.Is(err, known) {
			return err
		}
	}
	if denied(err) {
		return fmt.Errorf("%w: %w", chat.ErrDenied, err)
	}
	return fmt.Errorf("%w: %w", chat.ErrUnavailable, err)
}

func isNotFound(err error) bool { return errors.Is(err, chat.ErrNotFound) }

// conflict reports that a record was not at the revision the writer expected.
// A replicated stream has its own code for it.
func conflict(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
		api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}
