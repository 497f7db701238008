package admission

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"voiceroom.dev/voiceroom/admission/flight"
	"voiceroom.dev/voiceroom/chat"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/token"
)

const (
	// CompareEvery bounds how often a room's two member lists are compared
	// because chat says that it is full.
	CompareEvery = 5 * time.Second
	// compareTimeout bounds one comparison; in it a back end lists up to 10,000 members.
	compareTimeout = 10 * time.Second
	// chatTimeout bounds one question to chat: somebody is waiting to come in.
	chatTimeout = 3 * time.Second
)

// Pod is what admission needs of a room's media pod; *mediaapi.Client has it.
// Refusals of the room are a *room.Error.
type Pod interface {
	Get(ctx context.Context, epoch uint64) (*room.State, error)
	Session(ctx context.Context, epoch uint64, session string) (*mediaapi.SessionInfo, error)
	Subject(ctx context.Context, epoch uint64, subject string) (*mediaapi.SessionInfo, error)
	Reserve(ctx context.Context, req mediaapi.ReserveRequest) (*mediaapi.Reservation, error)
	Command(ctx context.Context, epoch uint64, as string, c room.Command) (*mediaapi.CommandResult, error)
}

var _ Pod = (*mediaapi.Client)(nil)

// Room is a room as its resource describes it now: where it is and how many it takes.
type Room struct {
	ID    room.ID
	Epoch uint64 // of the claim that Pod holds the room under
	Pod   Pod
	// Chat holds the group; nil means that its provider is not available.
	Chat       chat.Provider
	MaxMembers int
	// Degrade lets people in while chat is unavailable; Repair catches up.
	Degrade bool
}

func (r Room) state(ctx context.Context) (*room.State, error) {
	state, err := r.Pod.Get(ctx, r.Epoch)
	if err != nil {
		return nil, FromPod("reading the room", err)
	}
	return state, nil
}

func (r Room) command(ctx context.Context, c room.Command) (*mediaapi.CommandResult, error) {
	result, err := r.Pod.Command(ctx, r.Epoch, "", c)
	if err != nil {
		return nil, FromPod(fmt.Sprintf("giving the command %T", c), err)
	}
	return result, nil
}

// Request is somebody who wants to come in. The caller has proven who it is.
type Request struct {
	Subject string
	Name    string    // display name
	Role    room.Role // asked; the room caps it
	// InvitedAt is when the subject was invited; zero: it was not.
	InvitedAt time.Time
	// Invite is the link that invited it; nil: something made for this subject did.
	Invite *room.Invite
	// Keys are the IDs of the keys that signed what lets it in; none: another proof.
	Keys []string
	// Guest and Origin bound what one address can reserve.
	Guest  bool
	Origin string
	// Resumes is the session of an earlier room token, by which the subject proved that it
	// was let into this room before; empty: it did not. Then only a place that the pod still
	// keeps for it is given, and chat is not asked: it came past chat the first time.
	Resumes string
	// ResumesMember is the member that the session was of; 0: not known. Another membership
	// of the subject is not resumed: it was thrown out, or left, in between.
	ResumesMember uint32
}

// Grant is a place, and the token that opens it once.
type Grant struct {
	Token     string // a room token; a secret
	Session   string
	Member    uint32
	Epoch     uint64
	GroupID   string
	Role      room.Role // as given
	ExpiresAt time.Time // of token and place
}

// Entered is the outcome of a confirmed association.
type Entered struct {
	Member uint32
	Role   room.Role
	Mic    *int // the microphone's index; nil: none
}

// Desk lets people in. Safe for concurrent use.
type Desk struct {
	minter      *token.Minter
	now         func() time.Time
	rand        io.Reader
	comparisons *flight.Group[struct{}]
}

// Option changes what New makes.
type Option func(*Desk)

// WithClock replaces time.Now.
func WithClock(now func() time.Time) Option { return func(d *Desk) { d.now = now } }

// WithRand replaces crypto/rand, from which session names are made.
func WithRand(r io.Reader) Option { return func(d *Desk) { d.rand = r } }

// New makes a Desk that signs room tokens with minter. A caller that never joins
// anybody, only confirms and repairs, may pass nil.
func New(minter *token.Minter, options ...Option) *Desk {
	d := &Desk{minter: minter, now: time.Now, rand: rand.Reader}
	for _, option := range options {
		option(d)
	}
	d.comparisons = flight.New[struct{}](CompareEvery, compareTimeout, d.now)
	return d
}

// Join takes a place for the request's subject and mints the token that opens it.
// Whoever has a place already keeps it, however full the room is. Errors are *Error.
func (d *Desk) Join(ctx context.Context, r Room, req Request) (Grant, error) {
	if req.Resumes != "" {
		if err := d.mayResume(ctx, r, req); err != nil {
			return Grant{}, err
		}
	} else if err := d.Count(ctx, r); err != nil {
		return Grant{}, err
	}
	session, err := d.session()
	if err != nil {
		return Grant{}, &Error{Code: mediaapi.Internal, Detail: "no session could be made", cause: err}
	}
	taken, err := r.Pod.Reserve(ctx, mediaapi.ReserveRequest{Epoch: r.Epoch, Reserve: room.Reserve{
		Subject: req.Subject, Session: session, Name: req.Name, Role: req.Role,
		InvitedAt: req.InvitedAt, Invite: req.Invite, Resumes: req.Resumes, Guest: req.Guest, Origin: req.Origin, Keys: req.Keys,
	}})
	if err != nil {
		return Grant{}, FromPod("reserving a place", err)
	}
	return d.grant(r, session, req, *taken)
}

// Count asks chat whether the group is below its cap (step 7). A full group is
// compared with the pod, which then decides. Errors are *Error.
func (d *Desk) Count(ctx context.Context, r Room) error {
	err := d.below(ctx, r)
	if err != nil && r.Degrade {
		return nil // the pod's count is the exact one
	}
	return err
}

func (d *Desk) below(ctx context.Context, r Room) error {
	if r.Chat == nil {
		return ofChat("counting the group's members", chat.ErrUnavailable)
	}
	asking, cancel := context.WithTimeout(ctx, chatTimeout)
	defer cancel()
	group, err := r.Chat.Group(asking, r.ID.GroupID)
	if err != nil {
		return ofChat("counting the group's members", err)
	}
	if group.Members < r.MaxMembers {
		return nil
	}
	return d.compare(ctx, r)
}

// compare repairs the group because chat says that it is full, unless that was
// just done; callers at the same time share one comparison.
func (d *Desk) compare(ctx context.Context, r Room) error {
	_, err := d.comparisons.Do(ctx, r.ID.UID, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, d.Repair(ctx, r, nil)
	})
	if err != nil && CodeOf(err) == "" { // our ctx ended while another caller compared
		return ofChat("comparing the member lists", err)
	}
	return err
}

func (d *Desk) mayResume(ctx context.Context, r Room, req Request) error {
	info, err := r.Pod.Subject(ctx, r.Epoch, req.Subject)
	another := err == nil && req.ResumesMember != 0 && req.ResumesMember != info.Member.ID
	if another || errors.Is(err, &room.Error{Code: room.UnknownMember}) {
		return &Error{Code: room.UnknownMember, Detail: "the room keeps no place for you; join again"}
	}
	if err != nil {
		return FromPod("looking for a member", err)
	}
	return nil
}

func (d *Desk) session() (string, error) {
	b := make([]byte, 16)
	if _, err := io.ReadFull(d.rand, b); err != nil {
		return "", fmt.Errorf("making a session: %w", err)
	}
	return hex.EncodeToString(b), nil
}

// grant mints the token, which expires no later than the place that it opens.
func (d *Desk) grant(r Room, session string, req Request, taken mediaapi.Reservation) (Grant, error) {
	expires := d.now().Add(token.RoomTTL)
	if !taken.ExpiresAt.IsZero() && taken.ExpiresAt.Before(expires) {
		expires = taken.ExpiresAt
	}
	m := taken.Member
	signed, err := d.minter.Room(token.Room{RoomUID: r.ID.UID, Epoch: r.Epoch, Subject: req.Subject, Session: session, Member: m.ID,
		Group: r.ID.GroupID, Role: string(m.Role), Name: m.Name, Keys: req.Keys, ExpiresAt: expires})
	if err != nil {
		return Grant{}, &Error{Code: mediaapi.Internal, Detail: "no token can be signed now", Retryable: true, cause: err}
	}
	return Grant{Token: signed, Session: session, Member: m.ID, Epoch: r.Epoch, GroupID: r.ID.GroupID, Role: m.Role, ExpiresAt: expires}, nil
}
