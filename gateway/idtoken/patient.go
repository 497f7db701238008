package idtoken

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"voiceroom.dev/voiceroom/admission/flight"
)

const (
	// askEvery bounds how often an address of the issuer is asked. Without it, each
	// token with a forged signature would make us fetch the issuer's keys.
	askEvery   = 5 * time.Second
	askTimeout = 5 * time.Second
	// maxAnswer is the largest answer in bytes that is read.
	maxAnswer = 1 << 20
)

// patient asks each address at most once per askEvery; whoever wants to know
// meanwhile is given the same answer. Whatever is not a success is ErrUnavailable.
type patient struct {
	next    http.RoundTripper
	answers *flight.Group[[]byte]
}

func newPatient(next http.RoundTripper, now func() time.Time) *patient {
	if next == nil {
		next = http.DefaultTransport
	}
	return &patient{next: next, answers: flight.New[[]byte](askEvery, askTimeout, now)}
}

// RoundTrip implements http.RoundTripper for GET.
func (p *patient) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := p.answers.Do(r.Context(), r.URL.String(), func(ctx context.Context) ([]byte, error) { return p.get(r.WithContext(ctx)) })
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return &http.Response{StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body))}, nil
}

func (p *patient) get(r *http.Request) ([]byte, error) {
	res, err := p.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading the answer: %w", err)
	case res.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("answered %s", res.Status)
	}
	return body, nil
}
