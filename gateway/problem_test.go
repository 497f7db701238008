package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"voiceroom.dev/voiceroom/chat"
)

// Whatever goes wrong inside, an answer tells a code and a sentence, nothing else.
func TestInternalsStayInside(t *testing.T) {
	const secret = "10.1.2.3:9443 said eyJhbGciOi"
	resource := schema.GroupResource{Resource: "voicerooms"}
	for _, test := range []struct {
		err    error
		status int
		code   string
	}{
		{errors.New(secret), 500, "internal"},
		{fmt.Errorf("posting: %w: %s", chat.ErrUnavailable, secret), 503, "chat-unavailable"},
		{fmt.Errorf("posting: %w: %s", chat.ErrNotFound, secret), 410, "group-gone"},
		{fmt.Errorf("posting: %w: %s", chat.ErrInvalid, secret), 400, "message-invalid"},
		{ofCluster("making a room", apierrors.NewForbidden(resource, "r", errors.New(secret))), 403, "namespace-not-allowed"},
		{ofCluster("making a room", apierrors.NewInternalError(errors.New(secret))), 503, "control-plane-unavailable"},
		{ofCluster("making a room", apierrors.NewTooManyRequestsError(secret)), 503, "control-plane-unavailable"},
		{ofCluster("making a room", apierrors.NewConflict(resource, "r", errors.New(secret))), 409, "control-plane-unavailable"},
		{ofCluster("making a room", fmt.Errorf("dial tcp %s: connection refused", secret)), 503, "control-plane-unavailable"},
		{fmt.Errorf("asking %s: %w", secret, context.DeadlineExceeded), 503, "timeout"},
	} {
		r := refusalOf(test.err)
		w := httptest.NewRecorder()
		r.write(w)
		if r.status != test.status || string(r.code) != test.code || strings.Contains(w.Body.String(), "10.1.2.3") {
			t.Errorf("%v: answered %d %s %s, want %d %s", test.err, r.status, r.code, w.Body, test.status, test.code)
		}
	}
}
