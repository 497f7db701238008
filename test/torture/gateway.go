package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/test/torture/history"
)

// callPatience is longer than the gateway's own: what it is asked for has an outcome.
const callPatience = 40 * time.Second

// outcome of a call.
type outcome int

const (
	answered outcome = iota // granted, or refused with a code
	lost                    // it may have happened, or happen yet
	unsent                  // nobody was there to ask
)

// gateway is the HTTP API, as a back end with an API key uses it.
type gateway struct {
	url  string
	key  string
	http *http.Client
	away atomic.Bool // it was killed, and is not ready again
}

func newGateway(url, key string) *gateway {
	return &gateway{url: url, key: key, http: &http.Client{Timeout: callPatience, Transport: &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true}}}
}

// request is one call: with a bearer of its own or, for a user, with the API key.
type request struct {
	method, path string
	bearer, user string
	sdp          string // the body, if it is an offer
	body         any
	into         any // where the answer goes
}

// call returns the code of a refusal, empty if there was none.
func (g *gateway) call(ctx context.Context, r request) (room.Code, outcome) {
	if g.away.Load() {
		return "", unsent
	}
	payload, contentType := []byte(r.sdp), "application/sdp"
	if r.sdp == "" {
		contentType = "application/json"
		payload, _ = json.Marshal(r.body) // of strings and numbers
	}
	req, err := http.NewRequestWithContext(ctx, r.method, g.url+r.path, bytes.NewReader(payload))
	if err != nil {
		return "", unsent
	}
	req.Header.Set("Content-Type", contentType)
	bearer := r.bearer
	if bearer == "" {
		bearer = g.key
		if r.user != "" {
			req.Header.Set("X-Voiceroom-User", r.user)
		}
	}
	req.Header.Set("Authorization", "Bearer "+bearer)
	res, err := g.http.Do(req)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "", unsent
	case err != nil:
		return "", lost
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return "", lost
	}
	return judge(res.StatusCode, answer, r.into)
}

func judge(status int, answer []byte, into any) (room.Code, outcome) {
	if status < 300 {
		switch into := into.(type) {
		case nil:
		case *string:
			*into = string(answer)
		default:
			if json.Unmarshal(answer, into) != nil {
				return "", lost
			}
		}
		return "", answered
	}
	var p mediaapi.Problem
	if json.Unmarshal(answer, &p) != nil || p.Code == "" {
		return "", lost
	}
	return p.Code, outcomeOf(p.Code)
}

// outcomeOf tells a refusal from a call of which nobody knows what became of it.
func outcomeOf(c room.Code) outcome {
	switch c {
	case "media-unavailable", "internal", "timeout", "client-gone":
		return lost
	}
	return answered
}

// direct tells what became of a call of a media pod's control API.
func direct(err error) (room.Code, outcome) {
	refusal, ok := errors.AsType[*room.Error](err)
	switch {
	case err == nil:
		return "", answered
	case ok:
		return refusal.Code, outcomeOf(refusal.Code)
	case errors.Is(err, syscall.ECONNREFUSED):
		return "", unsent
	}
	return "", lost
}

// grant is a place that a caller was given, with the token that opens it.
type grant struct {
	Token     string    `json:"token"`
	Session   string    `json:"session"`
	Member    uint32    `json:"member"`
	Epoch     uint64    `json:"epoch"`
	ExpiresAt time.Time `json:"expiresAt"`

	subject string
}

// subjectPrefix is what the gateway makes of our API key's users.
const (
	keyName       = "torture"
	subjectPrefix = "key:" + keyName + ":"
)

func userOf(subject string) string { return strings.TrimPrefix(subject, subjectPrefix) }

func (r *voiceRoom) path() string { return "/v1/rooms/" + namespace + "/" + r.name }

// join asks for a place, with an earlier token if there is one.
func (g *gateway) join(ctx context.Context, r *voiceRoom, subject, resume string) (grant, room.Code, outcome) {
	got := grant{subject: subject}
	code, out := g.call(ctx, request{method: http.MethodPost, path: r.path() + "/join", bearer: resume, user: userOf(subject), body: struct{}{}, into: &got})
	return got, code, out
}

// offer spends a token and returns the answer.
func (g *gateway) offer(ctx context.Context, r *voiceRoom, token, sdp string) (string, room.Code, outcome) {
	var answer string
	code, out := g.call(ctx, request{method: http.MethodPost, path: "/rtc/" + namespace + "/" + r.name, bearer: token, sdp: sdp, into: &answer})
	return answer, code, out
}

// feedback says how an association came out.
func (g *gateway) feedback(ctx context.Context, r *voiceRoom, token, session, how string) (room.Code, outcome) {
	return g.call(ctx, request{method: http.MethodPost, path: r.path() + "/sessions/" + session + "/feedback", bearer: token, body: map[string]string{"outcome": how}})
}

func (g *gateway) leave(ctx context.Context, r *voiceRoom, token, session string) (room.Code, outcome) {
	return g.call(ctx, request{method: http.MethodDelete, path: r.path() + "/sessions/" + session, bearer: token})
}

// command gives a command as a session or, without a token, as the back end.
func (g *gateway) command(ctx context.Context, r *voiceRoom, token string, kind history.Kind, body any) (mediaapi.CommandResult, room.Code, outcome) {
	var done mediaapi.CommandResult
	code, out := g.call(ctx, request{method: http.MethodPost, path: r.path() + "/commands/" + string(kind), bearer: token, body: body, into: &done})
	return done, code, out
}
