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
//	GET    /v1/room/watch                   frames, one JSON a line      operator, gateway
//	DELETE /v1/room?reason=R                close and stop               operator
//	POST   /v1/room/reservations            ReserveRequest -> Reservation  operator, gateway
//	POST   /v1/room/commands                CommandRequest -> room.State operator, gateway
//	PUT    /v1/room/lease                   LeaseRequest                 operator, gateway
//	POST   /v1/room/sessions                SignalRequest -> SignalAnswer  gateway
//	PATCH  /v1/room/sessions/{session}      SignalRequest -> SignalAnswer  gateway (ICE restart)
//	DELETE /v1/room/sessions/{session}      leave; token in HangupRequest  gateway
//	PUT    /v1/keys                         Keys                         operator
//
// Of the commands, close, seal and release-held are the operator's unless they are
// given for a session.
//
// Every request about the room carries the epoch it is meant for; a lower one than
// the room's is refused with stale-epoch (HTTP 410), a higher one seals the room.
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
}

// LeaseRequest renews the admission lease for Lease from now.
type LeaseRequest struct {
	Epoch uint64 `json:"epoch"`
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

// Frame is one line of a watch. The first is a snapshot; after it events follow
// without a gap, or another snapshot; a frame without either is a heartbeat, sent
// every second.
type Frame struct {
	Snapshot *room.State `json:"snapshot,omitempty"`
	Event    *room.Event `json:"event,omitempty"`
}
