package media_test

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"testing"

	"voiceroom.dev/voiceroom/media"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/token"
)

// calls are the control API's that have a body.
var calls = []struct{ method, path string }{
	{http.MethodPut, "/v1/room"},
	{http.MethodPost, "/v1/room/reservations"},
	{http.MethodPost, "/v1/room/commands"},
	{http.MethodPut, "/v1/room/lease"},
	{http.MethodPut, "/v1/room/moved"},
	{http.MethodPost, "/v1/room/sessions"},
	{http.MethodPatch, "/v1/room/sessions/s"},
	{http.MethodDelete, "/v1/room/sessions/s"},
	{http.MethodPut, "/v1/keys"},
}

// Whatever a caller with a token sends, the pod answers, with a problem if it does not do it, and is not at fault.
func FuzzControlAPI(f *testing.F) {
	f.Add(byte(2), []byte(`{"epoch":1,"type":"mute","body":{"muted":true}}`))
	f.Fuzz(func(t *testing.T, n byte, body []byte) {
		p := newPod(t, func(c *media.Config) { c.Logger = slog.New(slog.DiscardHandler) }) // for what came may end it
		p.put()
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: p.ca.pool, ServerName: mediaapi.ServerName}, ForceAttemptHTTP2: true}
		defer transport.CloseIdleConnections()
		call := calls[int(n)%len(calls)]
		bearer, err := p.operatorKey.Caller(token.Caller{Name: token.CallerOperator, PodUID: podUID})
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequestWithContext(t.Context(), call.method, "https://"+p.server.ControlAddr()+call.path, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+bearer)
		resp, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		answer, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode < 300 {
			return
		}
		var problem mediaapi.Problem
		if err := json.Unmarshal(answer, &problem); err != nil || problem.Code == "" || problem.Code == mediaapi.Internal || resp.StatusCode == http.StatusInternalServerError {
			t.Errorf("%s %s: %s: %s", call.method, call.path, resp.Status, answer)
		}
	})
}
