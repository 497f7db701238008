package mediaapi

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"

	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/token"
)

// Codes of refusals that are not the room's own. Codes of unusable offers begin
// with "offer-" (see media/transport).
const (
	NoRoom          room.Code = "no-room"         // the pod was given none yet
	OtherRoom       room.Code = "other-room"      // the pod is bound to another UID
	Unauthenticated room.Code = "unauthenticated" // no valid caller's token
	Forbidden       room.Code = "forbidden"       // this caller may not
	BadRequest      room.Code = "bad-request"     //
	TooLarge        room.Code = "too-large"       // the body
	NotFound        room.Code = "not-found"       // no such resource
	ETagMismatch    room.Code = "etag-mismatch"   // the ICE session was replaced already
	Stopping        room.Code = "stopping"        // the pod is about to exit
	Internal        room.Code = "internal"        //

	TokenMalformed  room.Code = "token-malformed"
	TokenExpired    room.Code = "token-expired"
	TokenUnknownKey room.Code = "token-unknown-key"
	TokenSignature  room.Code = "token-signature"
	TokenAudience   room.Code = "token-audience" // another room or epoch
)

// statuses are the HTTP statuses of codes; what is not here is wrong with an offer: 400.
var statuses = map[room.Code]int{
	BadRequest:      http.StatusBadRequest,
	room.BadCommand: http.StatusBadRequest,

	Unauthenticated: http.StatusUnauthorized,
	TokenMalformed:  http.StatusUnauthorized,
	TokenExpired:    http.StatusUnauthorized,
	TokenUnknownKey: http.StatusUnauthorized,
	TokenSignature:  http.StatusUnauthorized,
	TokenAudience:   http.StatusUnauthorized,

	room.TokenReplayed: http.StatusUnauthorized,

	Forbidden:           http.StatusForbidden,
	room.IsBanned:       http.StatusForbidden,
	room.IsKicked:       http.StatusForbidden,
	room.InviteRequired: http.StatusForbidden,
	room.RoomLocked:     http.StatusForbidden,
	room.InviteVoid:     http.StatusForbidden,
	room.InviteUsed:     http.StatusForbidden,
	room.MicNotAllowed:  http.StatusForbidden,
	room.HandsRefused:   http.StatusForbidden,
	room.NotAllowed:     http.StatusForbidden,

	room.MutedByModerator: http.StatusForbidden,

	NoRoom:              http.StatusNotFound,
	NotFound:            http.StatusNotFound,
	room.UnknownMember:  http.StatusNotFound,
	room.UnknownSession: http.StatusNotFound,

	OtherRoom:           http.StatusConflict,
	room.RoomFull:       http.StatusConflict,
	room.NotOpenYet:     http.StatusConflict,
	room.MicUnavailable: http.StatusConflict,
	room.MicTaken:       http.StatusConflict,
	room.MicLocked:      http.StatusConflict,
	room.AlreadyJoined:  http.StatusConflict,
	room.NoHand:         http.StatusConflict,
	room.NotAsked:       http.StatusConflict,
	room.NotOnMic:       http.StatusConflict,
	room.NotAssociated:  http.StatusConflict,
	room.NotEntered:     http.StatusConflict,
	room.StaleSpec:      http.StatusConflict,

	room.StaleEpoch: http.StatusGone,
	room.RoomClosed: http.StatusGone,

	ETagMismatch: http.StatusPreconditionFailed,
	TooLarge:     http.StatusRequestEntityTooLarge,
	room.TooMany: http.StatusTooManyRequests,
	Internal:     http.StatusInternalServerError,

	Stopping:    http.StatusServiceUnavailable,
	room.Frozen: http.StatusServiceUnavailable,
	room.Moving: http.StatusServiceUnavailable,
}

// Status is the HTTP status that goes with a code.
func Status(c room.Code) int {
	if s, ok := statuses[c]; ok {
		return s
	}
	return http.StatusBadRequest
}

// TokenCode is the code for an error of token.Verifier.
func TokenCode(err error) room.Code {
	switch {
	case errors.Is(err, token.ErrUnknownKey):
		return TokenUnknownKey
	case errors.Is(err, token.ErrSignature):
		return TokenSignature
	case errors.Is(err, token.ErrExpired):
		return TokenExpired
	case errors.Is(err, token.ErrAudience):
		return TokenAudience
	}
	return TokenMalformed
}

// ProblemType is the media type of a Problem.
const ProblemType = "application/problem+json"

// Problem is an error as it travels (RFC 9457).
type Problem struct {
	Type   string    `json:"type"` // urn:voiceroom:problem:<code>
	Title  string    `json:"title"`
	Status int       `json:"status"`
	Detail string    `json:"detail,omitempty"`
	Code   room.Code `json:"code"`
}

// NewProblem describes err. What is not a *room.Error is Internal, without its
// text: that is for the log.
func NewProblem(err error) Problem {
	refusal := &room.Error{Code: Internal, Detail: "something went wrong here"}
	errors.As(err, &refusal)
	status := Status(refusal.Code)
	return Problem{Type: problemURN + string(refusal.Code), Title: http.StatusText(status), Status: status,
		Detail: refusal.Detail, Code: refusal.Code}
}

const problemURN = "urn:voiceroom:problem:"

// Write answers a request with p.
func (p Problem) Write(w http.ResponseWriter) {
	body, err := json.Marshal(p)
	if err != nil { // a struct of strings always marshals
		panic(err)
	}
	w.Header().Set("Content-Type", ProblemType)
	w.WriteHeader(p.Status)
	_, _ = w.Write(body) // the caller may have gone
}

// readProblem returns the refusal in a response, nil if it holds none.
func readProblem(resp *http.Response) *room.Error {
	if !strings.HasPrefix(resp.Header.Get("Content-Type"), ProblemType) {
		return nil
	}
	var p Problem
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxProblem)).Decode(&p); err != nil || p.Code == "" {
		return nil
	}
	return &room.Error{Code: p.Code, Detail: p.Detail}
}
