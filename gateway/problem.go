package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"voiceroom.dev/voiceroom/admission"
	"voiceroom.dev/voiceroom/chat"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
)

// Codes of the gateway's own, beside those of room, mediaapi and admission.
const (
	codeNotFound        room.Code = "not-found"
	codeMethod          room.Code = "method-not-allowed"
	codeContentType     room.Code = "content-type"
	codeRateLimited     room.Code = "rate-limited"
	codeUnknownRoom     room.Code = "unknown-room"
	codeRoomExists      room.Code = "room-exists"
	codeRoomInvalid     room.Code = "room-invalid"
	codeRoomWaking      room.Code = "room-waking"
	codeRoomNotReady    room.Code = "room-not-ready"
	codeNamespace       room.Code = "namespace-not-allowed"
	codeGuests          room.Code = "guests-not-allowed"
	codeUserRequired    room.Code = "user-required"
	codeNoIdentity      room.Code = "not-an-identity"
	codeIdentity        room.Code = "identity-unavailable"
	codeControlPlane    room.Code = "control-plane-unavailable"
	codeIfMatch         room.Code = "if-match-required"
	codeMessageInvalid  room.Code = "message-invalid"
	codeOtherSession    room.Code = "other-session"
	codeClientGone      room.Code = "client-gone"
	codeTimeout         room.Code = "timeout"
	codeGatewayStopping room.Code = "gateway-stopping"
	codeKeysNotReady    room.Code = "keys-not-ready"
	codeSessionRequired room.Code = "session-required"
	codeInviteOther     room.Code = "invite-for-another"
	codeChatMuted       room.Code = "chat-muted"
)

const (
	statusClientGone     = 499 // as nginx calls it: nobody reads the answer
	retryAfterUnlessSaid = 1   // seconds
)

// refusal is an answer that is not a success.
type refusal struct {
	status     int
	code       room.Code
	detail     string // a sentence for people, without internals
	retryAfter int    // seconds; 0: do not say
	cause      error  // for the log
}

func refuse(status int, code room.Code, format string, args ...any) *refusal {
	return &refusal{status: status, code: code, detail: fmt.Sprintf(format, args...)}
}

func (r *refusal) Error() string {
	if r.cause != nil {
		return fmt.Sprintf("%s: %v", r.code, r.cause)
	}
	return string(r.code) + ": " + r.detail
}

func (r *refusal) Unwrap() error { return r.cause }

func (r *refusal) because(err error) *refusal { r.cause = err; return r }

// later says that the same request may succeed in a moment.
func (r *refusal) later() *refusal { r.retryAfter = retryAfterUnlessSaid; return r }

func (r *refusal) problem() mediaapi.Problem {
	return mediaapi.Problem{Type: "urn:voiceroom:problem:" + string(r.code), Title: http.StatusText(r.status), Status: r.status,
		Detail: r.detail, Code: r.code}
}

// statuses of codes that mediaapi does not know.
var statuses = map[room.Code]int{
	admission.ChatUnavailable:  http.StatusServiceUnavailable,
	admission.ChatFull:         http.StatusServiceUnavailable,
	admission.MediaUnavailable: http.StatusServiceUnavailable,
	admission.GroupGone:        http.StatusGone,
}

func statusOf(c room.Code) int {
	if s, ok := statuses[c]; ok {
		return s
	}
	return mediaapi.Status(c)
}

// refusalOf turns any error into the answer to it.
func refusalOf(err error) *refusal {
	if r, ok := errors.AsType[*refusal](err); ok {
		return r
	}
	if errors.Is(err, errMoved) { // the pod had not answered yet
		return refuse(http.StatusServiceUnavailable, room.Moving, "the room has moved to another media pod; ask again").because(err)
	}
	if e, ok := errors.AsType[*admission.Error](err); ok {
		return ofAdmission(e)
	}
	if e, ok := errors.AsType[*room.Error](err); ok {
		return refuse(statusOf(e.Code), e.Code, "%s", e.Detail)
	}
	if e, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return refuse(http.StatusRequestEntityTooLarge, mediaapi.TooLarge, "the body is larger than %d bytes", e.Limit)
	}
	switch {
	case errors.Is(err, chat.ErrInvalid):
		return refuse(http.StatusBadRequest, codeMessageInvalid, "the message is not text that chat can carry").because(err)
	case errors.Is(err, chat.ErrNotFound):
		return refuse(http.StatusGone, admission.GroupGone, "the room's chat group is gone").because(err)
	case errors.Is(err, chat.ErrUnavailable), errors.Is(err, chat.ErrDenied):
		return refuse(http.StatusServiceUnavailable, admission.ChatUnavailable, "the room's chat does not answer").later().because(err)
	case errors.Is(err, context.DeadlineExceeded):
		return refuse(http.StatusServiceUnavailable, codeTimeout, "this takes too long; ask again").later().because(err)
	}
	return refuse(http.StatusInternalServerError, mediaapi.Internal, "something went wrong here").because(err)
}

func ofAdmission(e *admission.Error) *refusal {
	r := refuse(statusOf(e.Code), e.Code, "%s", e.Detail).because(e)
	if e.Code == admission.MediaUnavailable || e.Code == room.Moving {
		return r // another pod is on its way, often in less than a second: the client's own patience will do
	}
	if e.Retryable && (r.status == http.StatusServiceUnavailable || r.status == http.StatusTooManyRequests) {
		return r.later()
	}
	return r
}

// ofCluster types an error of the API server: what it refused, or that it does not answer.
func ofCluster(doing string, err error) *refusal {
	err = fmt.Errorf("%s: %w", doing, err)
	var s metav1.Status
	if answered, ok := errors.AsType[*apierrors.StatusError](err); ok {
		s = answered.Status()
	}
	switch s.Reason {
	case metav1.StatusReasonAlreadyExists:
		return refuse(http.StatusConflict, codeRoomExists, "there is a room of this name already")
	case metav1.StatusReasonInvalid, metav1.StatusReasonBadRequest:
		return refuse(http.StatusUnprocessableEntity, codeRoomInvalid, "%s", causes(s))
	case metav1.StatusReasonForbidden:
		return refuse(http.StatusForbidden, codeNamespace, "the cluster does not allow this in this namespace").because(err)
	case metav1.StatusReasonNotFound:
		return refuse(http.StatusNotFound, codeUnknownRoom, "there is no such room or namespace")
	case metav1.StatusReasonConflict:
		return refuse(http.StatusConflict, codeControlPlane, "the room is being changed; ask again").later().because(err)
	}
	return refuse(http.StatusServiceUnavailable, codeControlPlane, "the control plane does not answer").later().because(err)
}

// causes are the sentences of a validation error, those of CEL rules among them.
func causes(s metav1.Status) string {
	if s.Details == nil || len(s.Details.Causes) == 0 {
		return s.Message
	}
	var all []string
	for _, c := range s.Details.Causes {
		if c.Field == "" || c.Field == "<nil>" {
			all = append(all, c.Message)
			continue
		}
		all = append(all, c.Field+": "+c.Message)
	}
	return strings.Join(all, "; ")
}

// write answers with r.
func (r *refusal) write(w http.ResponseWriter) {
	if r.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(r.retryAfter))
	}
	if r.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	w.Header().Set("Cache-Control", "no-store")
	r.problem().Write(w)
}
