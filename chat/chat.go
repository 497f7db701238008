// Package chat is the contract between a voice room and the instant-messaging
// server that holds its group.
//
// A group is created Invalid, tied to the client that asked for the room, with
// two numbers: the most members that may be associated and the most virtual
// microphones that may exist (CN111343079B, claim 1). It becomes Valid once,
// when the first client's association with the media server succeeded, and never
// turns back.
//
// A back end is durable membership and messages; it is never trusted to enforce
// a cap. Caps are exact in the media pod; callers compare the two member lists
// when the counts differ.
//
// Every Provider passes the suite in chat/chattest against a real server.
package chat

import (
	"context"
	"errors"
	"time"
)

// State of a group.
type State string

// The two states of a group. Invalid -> Valid is a one-way latch.
const (
	Invalid State = "Invalid"
	Valid   State = "Valid"
)

// The errors that every Provider returns, wrapped with what was being done.
var (
	// ErrNotFound: no such group (or member, where a member is required).
	ErrNotFound = errors.New("not found")
	// ErrFull: the back end itself refuses another member.
	ErrFull = errors.New("group is full")
	// ErrUnavailable: the back end cannot be reached or did not answer in time; retry.
	ErrUnavailable = errors.New("chat unavailable")
	// ErrDenied: the back end refuses our credentials or this operation; do not retry.
	ErrDenied = errors.New("denied by chat")
	// ErrInvalid: an argument is malformed (empty key, negative limit, text too long).
	ErrInvalid = errors.New("invalid argument")
)

// Limits are the two numbers of a group: 1 <= MaxMics <= MaxMembers.
type Limits struct {
	MaxMembers int `json:"maxMembers"`
	MaxMics    int `json:"maxMics"`
}

// GroupSpec is what a group is created with.
type GroupSpec struct {
	Name  string
	Owner string // subject of the client that the group is tied to; not a member until AddMember
	Limits
}

// Group is one instant-messaging group.
type Group struct {
	ID    string // opaque, made by the provider; safe in a URL path
	Key   string // the creator's idempotency key
	Name  string
	Owner string
	State State
	Limits
	Members   int // how many members are associated now
	CreatedAt time.Time
}

// Member is one client that is associated with a group.
type Member struct {
	Subject  string
	Name     string    // display name, may be empty
	JoinedAt time.Time // set by the provider
}

// Message is one chat message of a group.
type Message struct {
	ID     string // orders messages within the group: compare by Seq, not by ID
	Seq    uint64 // strictly increasing within a group; not dense
	Author string // subject
	Name   string // the author's display name
	Text   string // 1..MaxText bytes of UTF-8; no control characters but tab, newline and return
	Time   time.Time
}

// MaxText is the longest Message.Text in bytes.
const MaxText = 4096

// Capabilities say what a back end can do beyond the required contract.
type Capabilities struct {
	History   bool // History returns messages from before a subscription
	Subscribe bool // Subscribe delivers messages as they are posted
	Durable   bool // groups, members and messages survive a restart of the back end
}

// Provider is one chat back end. Methods are safe for concurrent use, return
// the errors above, and honour ctx: a call that ctx ends returns ErrUnavailable,
// and may or may not have happened. Arguments that do not Validate are
// ErrInvalid. All are idempotent: repeating a call that
// succeeded (or whose answer was lost) changes nothing and returns no error,
// except Post, which posts again.
type Provider interface {
	// Capabilities are fixed for the life of the Provider.
	Capabilities() Capabilities

	// Check proves that the back end can be reached and written to.
	Check(ctx context.Context) error

	// CreateGroup makes the group named by the caller's key, or returns the one
	// that exists for it unchanged. Concurrent calls with one key make one group.
	CreateGroup(ctx context.Context, key string, spec GroupSpec) (Group, error)

	// Group returns a group with its current number of members, or ErrNotFound.
	Group(ctx context.Context, id string) (Group, error)

	// ListGroups returns every group whose key starts with prefix (all of them if
	// it is empty), in no order.
	ListGroups(ctx context.Context, prefix string) ([]Group, error)

	// SetValid latches a group to Valid.
	SetValid(ctx context.Context, id string) error

	// SetLimits replaces the two numbers. Nobody is removed by it.
	SetLimits(ctx context.Context, id string, limits Limits) error

	// AddMember associates a client with the group. JoinedAt of m is ignored: the
	// provider sets it, and an existing member keeps its own.
	AddMember(ctx context.Context, id string, m Member) error

	// RemoveMember ends the association. No error if it is not a member.
	RemoveMember(ctx context.Context, id, subject string) error

	// Members returns the whole list, in no order.
	Members(ctx context.Context, id string) ([]Member, error)

	// DeleteGroup dissolves the group with its members and messages. No error if
	// it is gone. Its ID is never used again.
	DeleteGroup(ctx context.Context, id string) error

	// Post appends a message; ID, Seq and Time of m are ignored and returned set.
	// The author need not be a member: callers decide who may speak.
	Post(ctx context.Context, id string, m Message) (Message, error)

	// History returns up to limit messages with Seq < before (0: the newest), in
	// ascending order. A back end may forget the oldest.
	History(ctx context.Context, id string, before uint64, limit int) ([]Message, error)

	// Subscribe calls deliver for every message with Seq > after, in order, until
	// ctx ends (nil), the group is deleted (ErrNotFound) or the back end is lost
	// (ErrUnavailable). deliver is never called concurrently and must not block for long.
	Subscribe(ctx context.Context, id string, after uint64, deliver func(Message)) error

	// Close releases connections; running calls end with ErrUnavailable.
	Close() error
}
