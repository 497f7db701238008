package media_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"voiceroom.dev/voiceroom/media"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/token"
)

// Who may do what, and who may do nothing.
func TestCallers(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	stranger := newSigner(t, p.clock.now)
	put := func(c *mediaapi.Client) error {
		_, err := c.Put(t.Context(), mediaapi.PutRequest{ID: room.ID{UID: "another"}, Epoch: 9})
		return err
	}
	get := func(c *mediaapi.Client) error {
		_, err := c.Get(t.Context(), 0)
		return err
	}
	command := func(cmd room.Command) func(*mediaapi.Client) error {
		return func(c *mediaapi.Client) error {
			_, err := c.Command(t.Context(), 1, "", cmd)
			return err
		}
	}
	p.put()
	before := p.state()
	tests := []struct {
		name   string
		caller *mediaapi.Client
		call   func(*mediaapi.Client) error
		want   room.Code // empty: granted
	}{
		{"gateway gets", p.gateway, get, ""},
		{"gateway cannot put", p.gateway, put, mediaapi.Forbidden},
		{"gateway cannot delete", p.gateway, func(c *mediaapi.Client) error { return c.Delete(t.Context(), 1, "") }, mediaapi.Forbidden},
		{"gateway cannot push keys", p.gateway, func(c *mediaapi.Client) error { return c.PushKeys(t.Context(), mediaapi.Keys{}) }, mediaapi.Forbidden},
		{"gateway cannot seal", p.gateway, command(room.Seal{}), mediaapi.Forbidden},
		{"gateway cannot release held places", p.gateway, command(room.ReleaseHeld{}), mediaapi.Forbidden},
		{"unknown key", p.dial(token.CallerOperator, stranger, podUID), get, mediaapi.Unauthenticated},
		{"token for another pod", p.dial(token.CallerOperator, p.operatorKey, "another-pod"), get, mediaapi.Unauthenticated},
		{"gateway's key that claims to be the operator's", p.dial(token.CallerOperator, p.gatewayKey, podUID), get, mediaapi.Unauthenticated},
		{"token key", p.dial(token.CallerOperator, p.tokens, podUID), get, mediaapi.Unauthenticated},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if err := test.call(test.caller); test.want != "" {
				wantCode(t, err, test.want)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
	if diff := cmp.Diff(before, p.state()); diff != "" {
		t.Errorf("the room changed:\n%s", diff)
	}
}

// Requests that no client of ours makes, and what they are answered.
func TestBadRequests(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	bearer, err := p.operatorKey.Caller(token.Caller{Name: token.CallerOperator, PodUID: podUID})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, method, path, auth, body string
		status                         int
		code                           room.Code
	}{
		{"no token", "GET", "/v1/room", "", "", 401, mediaapi.Unauthenticated},
		{"no token, no such path", "GET", "/etc/passwd", "", "", 401, mediaapi.Unauthenticated},
		{"basic auth", "GET", "/v1/room", "Basic Zm9vOmJhcg==", "", 401, mediaapi.Unauthenticated},
		{"enormous token", "GET", "/v1/room", "Bearer " + strings.Repeat("x", 20<<10), "", 401, mediaapi.Unauthenticated},
		{"no such path", "GET", "/v1/nothing", "Bearer " + bearer, "", 404, mediaapi.NotFound},
		{"no room yet", "GET", "/v1/room", "Bearer " + bearer, "", 404, mediaapi.NoRoom},
		{"not JSON", "PUT", "/v1/room", "Bearer " + bearer, "hello", 400, mediaapi.BadRequest},
		{"no UID", "PUT", "/v1/room", "Bearer " + bearer, `{"epoch":1}`, 400, mediaapi.BadRequest},
		{"no epoch", "PUT", "/v1/room", "Bearer " + bearer, `{"id":{"uid":"x"}}`, 400, mediaapi.BadRequest},
		{"bad address", "PUT", "/v1/room", "Bearer " + bearer, `{"id":{"uid":"x"},"epoch":1,"advertise":["nowhere"]}`, 400, mediaapi.BadRequest},
		{"epoch is no number", "GET", "/v1/room?epoch=x", "Bearer " + bearer, "", 400, mediaapi.BadRequest},
		{"body too large", "POST", "/v1/room/sessions", "Bearer " + bearer, `{"offer":"` + strings.Repeat("x", 1<<20) + `"}`, 413, mediaapi.TooLarge},
		{"keys of another kind", "PUT", "/v1/keys", "Bearer " + bearer, `{"tokens":{"keys":[{"kty":"RSA","kid":"1"}]}}`, 400, mediaapi.BadRequest},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p.wantProblem(test.method, test.path, test.auth, test.body, test.status, test.code)
		})
	}
}

// A pod holds one room at one epoch, whatever it is told later.
func TestPut(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	request := func(uid string, epoch uint64, generation int64, members int) error {
		_, err := p.operator.Put(t.Context(), mediaapi.PutRequest{ID: room.ID{UID: uid}, Epoch: epoch,
			Spec: room.Spec{Generation: generation, Owner: owner, MaxMembers: members, MaxMics: 1, Access: room.Public, MicPolicy: room.Auto}})
		return err
	}
	if err := request(roomUID, 2, 1, 5); err != nil {
		t.Fatal(err)
	}
	wantCode(t, request("another", 3, 1, 5), mediaapi.OtherRoom)
	wantCode(t, request(roomUID, 1, 9, 5), room.StaleEpoch)
	if err := request(roomUID, 2, 1, 7); err != nil || p.state().Settings.MaxMembers != 5 {
		t.Errorf("the same generation: %v, %d members", err, p.state().Settings.MaxMembers)
	}
	if err := request(roomUID, 2, 2, 6); err != nil || p.state().Settings.MaxMembers != 6 {
		t.Errorf("a newer generation: %v, %d members", err, p.state().Settings.MaxMembers)
	}
	wantCode(t, request(roomUID, 2, 1, 9), room.StaleSpec)
	if err := request(roomUID, 3, 2, 6); err != nil || p.state().Epoch != 3 {
		t.Errorf("a repeated claim of a room that nobody came to: %v, epoch %d", err, p.state().Epoch)
	}
	if phase := p.state().Phase; phase != room.Prepared {
		t.Errorf("the room is %s", phase)
	}
}

// A pod without an encoder says of a room that its audience should hear a mix that it does not, also of one that
// comes from a pod that has one.
func TestPutWithoutCodec(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	mixed := func(r *mediaapi.PutRequest) { r.Spec.Audience = room.Mix }
	if got := p.put(mixed).Settings.Audience; got != room.Forward {
		t.Errorf("a new room is on %q", got)
	}
	if got := p.put(mixed, func(r *mediaapi.PutRequest) { r.Spec.Generation++ }).Settings.Audience; got != room.Forward {
		t.Errorf("after an edit it is on %q", got)
	}
	seed := p.state()
	seed.Settings.Audience, seed.Settings.Spec.Audience = room.Mix, room.Mix
	next := newPod(t).put(mixed, func(r *mediaapi.PutRequest) { r.Epoch, r.Seed, r.Spec.Generation = 2, seed, 2 })
	if got := next.Settings.Audience; got != room.Forward {
		t.Errorf("in the next pod it is on %q", got)
	}
}

// Once a higher epoch is heard of, the pod takes nobody in and stops when it is empty.
func TestHigherEpochSeals(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	p.put()
	ann := p.join(owner, voice)
	_, err := p.gateway.Get(t.Context(), 2)
	wantCode(t, err, room.Moving)
	if phase := p.state().Phase; phase != room.Sealed {
		t.Fatalf("the room is %s", phase)
	}
	_, err = p.gateway.Reserve(t.Context(), mediaapi.ReserveRequest{Epoch: 1, Reserve: room.Reserve{Subject: "key:shop:bob", Session: "b"}})
	wantCode(t, err, room.Moving)
	wantCode(t, p.operator.Renew(t.Context(), 1, 0), room.Moving)
	_, err = p.operator.Put(t.Context(), mediaapi.PutRequest{ID: room.ID{UID: roomUID}, Epoch: 2})
	wantCode(t, err, room.Moving)
	if err := p.gateway.Hangup(t.Context(), ann.session, mediaapi.HangupRequest{Epoch: 1, Token: ann.token}); err != nil {
		t.Fatal(err)
	}
	if err := p.exit(); err != nil {
		t.Errorf("Run: %v", err)
	}
}

// Without a lease strangers wait, members go on; without one for long, the pod stops.
func TestLeaseLapses(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	p.put()
	ann := p.join(owner, voice)
	p.clock.advance(mediaapi.Lease)
	_, err := p.gateway.Reserve(t.Context(), mediaapi.ReserveRequest{Epoch: 1, Reserve: room.Reserve{Subject: "key:shop:bob", Session: "b"}})
	wantCode(t, err, room.Frozen)
	again := p.associate(owner, voice)
	again.await("snapshot", nil)
	if got := ann.await("bye", nil); got.Code != room.Replaced {
		t.Errorf("bye says %s", got.Code)
	}
	if err := p.gateway.Renew(t.Context(), 1, 0); err != nil {
		t.Fatal(err)
	}
	p.reserve("key:shop:bob", "b")
	p.clock.advance(mediaapi.Lease + room.StopAfter)
	if got := again.await("bye", nil); got.Code != room.Moving {
		t.Errorf("bye says %s", got.Code)
	}
	if err := p.exit(); err != nil {
		t.Errorf("Run: %v", err)
	}
}

// A snapshot and the events after it are the room.
func TestWatchReproducesTheRoom(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	p.put()
	f := p.follow(0)
	ann, bob := p.join(owner, voice), p.join("key:shop:bob", voice)
	p.command(bob.session, room.RaiseHand{Raised: false})
	p.command(ann.session, room.MuteMember{Member: bob.member, Muted: true})
	p.command(bob.session, room.Rename{Name: "Bobby"})
	p.command("", room.Configure{Access: new(room.InviteOnly)})
	p.command(ann.session, room.Kick{Member: bob.member, Ban: true})
	p.reserve(owner, "s2")
	want := p.state()
	got := f.until(t, "the newest state", func(s *room.State) bool { return s.Seq == want.Seq })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the replica differs (-room +replica):\n%s", diff)
	}
}

// Of many that race for the last place, one gets it.
func TestLastPlace(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	p.put(func(r *mediaapi.PutRequest) { r.Spec.MaxMembers = 2 })
	p.join(owner, voice)
	for range 10 {
		var wg sync.WaitGroup
		results := make([]error, 8)
		sessions := make([]string, len(results))
		for i := range results {
			sessions[i] = rand.Text()
			wg.Go(func() {
				_, results[i] = p.gateway.Reserve(t.Context(), mediaapi.ReserveRequest{Epoch: 1,
					Reserve: room.Reserve{Subject: "key:shop:" + sessions[i], Session: sessions[i]}})
			})
		}
		wg.Wait()
		winner := ""
		for i, err := range results {
			switch {
			case err == nil && winner == "":
				winner = sessions[i]
			case err == nil:
				t.Fatal("two got the last place")
			default:
				wantCode(t, err, room.RoomFull)
			}
		}
		if winner == "" {
			t.Fatal("nobody got the last place")
		}
		p.command("", room.Fail{Session: winner})
	}
}

// Keys follow their files and what the operator pushes; a broken file changes nothing.
func TestKeysFollow(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	p.put()
	next := newSigner(t, p.clock.now)
	newer := p.dial(token.CallerGateway, next, podUID)
	_, err := newer.Get(t.Context(), 0)
	wantCode(t, err, mediaapi.Unauthenticated)

	next.write(t, p.keysDir, mediaapi.GatewayFile)
	writeFile(t, filepath.Join(p.keysDir, mediaapi.OperatorFile), []byte("broken"))
	eventually(t, "the file's key is taken", func() bool {
		_, err := newer.Get(t.Context(), 0)
		return err == nil
	})
	if _, err := p.operator.Get(t.Context(), 0); err != nil {
		t.Errorf("a broken file took the operator's key away: %v", err)
	}
	_, err = p.gateway.Get(t.Context(), 0)
	wantCode(t, err, mediaapi.Unauthenticated)
	if err := p.operator.PushKeys(t.Context(), mediaapi.Keys{Gateway: p.gatewayKey.ring.Public()}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.gateway.Get(t.Context(), 0); err != nil {
		t.Errorf("a pushed key is not used: %v", err)
	}
}

// A renewed certificate is used without a restart, and only one of ours is trusted.
func TestCertificateFollows(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	serial := func(pool *x509.CertPool) (string, error) {
		dialer := tls.Dialer{Config: &tls.Config{RootCAs: pool, ServerName: mediaapi.ServerName}}
		conn, err := dialer.DialContext(t.Context(), "tcp", p.server.ControlAddr())
		if err != nil {
			return "", err
		}
		defer conn.Close()
		return conn.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.String(), nil
	}
	first, err := serial(p.ca.pool)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := serial(newAuthority(t).pool); err == nil {
		t.Error("another authority's pool trusts the pod")
	}
	p.ca.write(t, p.tlsDir)
	eventually(t, "the new certificate is shown", func() bool {
		now, err := serial(p.ca.pool)
		return err == nil && now != first
	})
}

// A pod is ready once it has what it needs to be called.
func TestReadiness(t *testing.T) {
	t.Parallel()
	probe := func(p *pod, path string) (int, string) {
		resp, err := http.Get("http://" + p.server.HealthAddr() + path)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, drained(resp)
	}
	p := newPod(t)
	for _, path := range []string{"/healthz", "/readyz"} {
		if status, text := probe(p, path); status != http.StatusOK {
			t.Errorf("%s: %d %s", path, status, text)
		}
	}
	dir := t.TempDir()
	bare := newPod(t, func(c *media.Config) { c.KeysDir = dir })
	if status, text := probe(bare, "/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(text, "keys") {
		t.Errorf("without keys: %d %s", status, text)
	}
	bare.tokens.write(t, dir, mediaapi.TokensFile)
	bare.operatorKey.write(t, dir, mediaapi.OperatorFile)
	eventually(t, "it is ready when the keys are there", func() bool {
		status, _ := probe(bare, "/readyz")
		return status == http.StatusOK
	})
}

// A caller that gives up has not seen the pod fail.
func TestCancelledCall(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.operator.Get(ctx, 0); !errors.Is(err, context.Canceled) || errors.Is(err, mediaapi.ErrUnreachable) {
		t.Errorf("got %v", err)
	}
	_, err := p.operator.Command(t.Context(), 1, "", room.Open{})
	wantCode(t, err, room.BadCommand)
}
