// Package mediaapi is the control contract of a media pod: the types on the wire
// and the client. media serves it; admission, controllers and gateway call it.
//
// It is JSON over HTTPS. The server proves itself with a certificate for
// ServerName from the operator's CA, whatever its address; the caller with a
// token (token.Caller) whose audience is the pod's UID. Errors are RFC 9457
// problem documents; a refusal of the room comes back as a *room.Error with its
// code.
//
//	PUT    /v1/room                         PutRequest -> room.State     operator
//	GET    /v1/room                         room.State                   operator, gateway
//	GET    /v1/room/watch?after=SEQ         frames, one JSON a line      operator, gateway
//	DELETE /v1/room?reason=R                close and stop               operator
//	POST   /v1/room/reservations            ReserveRequest -> Reservation  operator, gateway
//	POST   /v1/room/commands                CommandRequest -> CommandResult  operator, gateway
//	PUT    /v1/room/lease                   LeaseRequest                 operator, gateway
//	PUT    /v1/room/moved                   MovedRequest                 operator
//	GET    /v1/room/members?subject=S       SessionInfo                  operator, gateway
//	GET    /v1/room/sessions/{session}      SessionInfo                  operator, gateway
//	POST   /v1/room/sessions                SignalRequest -> SignalAnswer  gateway
//	PATCH  /v1/room/sessions/{session}      SignalRequest -> SignalAnswer  gateway (ICE restart)
//	DELETE /v1/room/sessions/{session}      leave; token in HangupRequest  gateway
//	PUT    /v1/keys                         Keys                         operator
//
// Of the commands, seal, release-held and revoke-keys are the operator's.
//
// Every request about the room carries the epoch it is meant for; a lower one than
// the room's is refused with stale-epoch (HTTP 410), a higher one seals the room.
//
// Events are durable once the operator has said, with its lease, that it holds a replica
// of the room as of them: then they outlive the pod.
package mediaapi

import (
	"encoding/json"
	"time"

	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/token"
)

// ServerName is the name in every media pod's certificate.
const ServerName = "media.voiceroom.internal"

// Lease is how long one renewal lets strangers in.
const Lease = 10 * time.Second

// AwaitTime is how long a command's answer waits at most for its events to be durable.
const AwaitTime = time.Second

// PutRequest hands a room to a pod. A pod binds to the first UID it is given, for
// ever; a repeat with the same epoch applies a newer spec generation.
type PutRequest struct {
	ID    room.ID   `json:"id"`
	Epoch uint64    `json:"epoch"`
	Spec  room.Spec `json:"spec"`
	// Seed is the last known state of the epoch before, if there was one: its
	// members become held places.
	Seed *room.State `json:"seed,omitempty"`
	// Advertise are the media addresses ("ip:port") that clients are told.
	Advertise []string `json:"advertise,omitempty"`
}

// ReserveRequest asks for a place.
type ReserveRequest struct {
	Epoch uint64 `json:"epoch"`
	room.Reserve
}

// Reservation is a place that was taken.
type Reservation struct {
	Epoch     uint64      `json:"epoch"`
	Member    room.Member `json:"member"`
	ExpiresAt time.Time   `json:"expiresAt"`
	Members   int         `json:"members"` // places taken now, this one included
}

// CommandRequest carries one command of package room.
type CommandRequest struct {
	Epoch uint64 `json:"epoch"`
	// As is the session that commands; empty: the control plane.
	As   string          `json:"as,omitempty"`
	Type string          `json:"type"` // see room.CommandNames
	Body json.RawMessage `json:"body,omitempty"`
	// Await asks for the answer only once what the command did is durable, for
	// AwaitTime at most.
	Await bool `json:"await,omitempty"`
}

// CommandResult is what a command that was not refused came to.
type CommandResult struct {
	Epoch uint64 `json:"epoch"`
	Seq   uint64 `json:"seq"` // of the room's last event after the command
	// Durable says whether all events up to Seq are.
	Durable bool `json:"durable"`
	// Member is who commanded or, of the control plane's commands, whom the command names;
	// if the command ended its membership, as it was before. Nil: there is none.
	Member *room.Member `json:"member,omitempty"`
	// Mic is what Member holds after the command. Nil: none.
	Mic         *room.Mic  `json:"mic,omitempty"`
	ActivatedAt *time.Time `json:"activatedAt,omitempty"`
}

// SessionInfo is one member, as of Seq.
type SessionInfo struct {
	Epoch       uint64      `json:"epoch"`
	Seq         uint64      `json:"seq"`
	Member      room.Member `json:"member"`
	Mic         *room.Mic   `json:"mic,omitempty"` // nil: it holds none
	ActivatedAt *time.Time  `json:"activatedAt,omitempty"`
}

// LeaseRequest renews the admission lease for Lease from now.
type LeaseRequest struct {
	Epoch uint64 `json:"epoch"`
	// Seq is the event up to which the operator holds a replica, which makes events
	// durable. A gateway, which keeps none, says 0.
	Seq uint64 `json:"seq,omitempty"`
}

// MovedRequest tells the pod of a room that has a newer one to send its clients there, while
// their connections here stand. It seals the room if nothing has yet. It may be repeated.
type MovedRequest struct {
	Epoch uint64 `json:"epoch"` // of this pod
	To    uint64 `json:"to"`    // the epoch that clients are to join; higher than Epoch, never lower than before
	// Silent are members who may not be heard any more: whoever was muted or thrown out, or lost
	// its microphone, in the newer epoch. They are cut off here before the call returns, and stay so.
	Silent []uint32 `json:"silent,omitempty"`
}

// SignalRequest carries a client's offer (RFC 9725).
type SignalRequest struct {
	Epoch uint64 `json:"epoch"`
	Token string `json:"token"` // the room token
	Offer string `json:"offer,omitempty"`
	// IfMatch is the ICE session that a restart replaces (PATCH); "*" is any.
	IfMatch string `json:"ifMatch,omitempty"`
}

// SignalAnswer is the pod's answer.
type SignalAnswer struct {
	Session string `json:"session"`
	ETag    string `json:"etag"` // names the ICE session
	Answer  string `json:"answer"`
}

// HangupRequest ends a session.
type HangupRequest struct {
	Epoch uint64 `json:"epoch"`
	Token string `json:"token"`
}

// Keys are the public keys that a pod verifies callers and clients with. They
// reach it as files of this name in a mounted ConfigMap, and by a push for speed.
type Keys struct {
	Tokens   *token.PublicSet `json:"tokens"`   // room tokens
	Operator *token.PublicSet `json:"operator"` // the operator's callers' tokens
	Gateway  *token.PublicSet `json:"gateway"`  // the gateways'
}

// Names of the ConfigMap's keys and of the files that a pod reads.
const (
	TokensFile   = "tokens.json"
	OperatorFile = "operator.json"
	GatewayFile  = "gateway.json"
)

// Frame is one line of a watch. The first is a snapshot or, in a watch that resumes after
// an event that the pod still remembers, the event that follows it. From there on events
// follow without a gap, or another snapshot; a frame without either is a heartbeat, sent
// at once where there is nothing else to send, and every second.
type Frame struct {
	Snapshot *room.State `json:"snapshot,omitempty"`
	Event    *room.Event `json:"event,omitempty"`
}
