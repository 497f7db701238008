package gateway

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"voiceroom.dev/voiceroom/admission"
	"voiceroom.dev/voiceroom/admission/flight"
	"voiceroom.dev/voiceroom/chat"
	"voiceroom.dev/voiceroom/gateway/apikey"
	"voiceroom.dev/voiceroom/gateway/idtoken"
	"voiceroom.dev/voiceroom/token"
)

const mergePatch = types.MergePatchType

// Cluster is what the gateway reads and writes of Kubernetes.
type Cluster struct {
	Cached client.Reader // VoiceRooms, by IndexGroupID too, and GroupChats
	Live   client.Reader // the API server itself, for VoiceRooms
	Writer client.Writer // creates, deletes and wakes VoiceRooms
}

// Credentials are the keys that the gateway works with, each as of now.
type Credentials struct {
	Ring    func() *token.Ring      // signs tickets and room tokens
	Public  func() *token.PublicSet // verifies them
	APIKeys func() *apikey.Set
	OIDC    *idtoken.Verifier // nil: no ID tokens
}

// Guests says whether people without an identity may ask to join, and how fast
// one address may make them.
type Guests struct {
	Allow     bool
	PerSecond float64 // per address, over time
	Burst     int
}

// Providers are the open chat back ends by the name of their ChatProvider.
type Providers interface {
	Get(name string) (chat.Provider, error)
}

// Dial returns a media pod whose calls last no longer than life; see [mediaapi.Client.While].
type Dial func(life context.Context, endpoint, podUID string) Pod

// Config of a Gateway. Everything but the fields with a default is required.
type Config struct {
	Cluster     Cluster
	Credentials Credentials
	Providers   Providers
	Dial        Dial
	Guests      Guests

	// PublicURL is where people reach the gateway, for links; nil: as the request has it.
	PublicURL *url.URL
	// RoomNamespaces are where rooms can be made over HTTP; "*" is anywhere.
	RoomNamespaces []string
	// AllowedOrigins are the web origins beside our own whose pages may call; "*" is any.
	AllowedOrigins []string
	// TrustedProxies write X-Forwarded-For truthfully.
	TrustedProxies []netip.Prefix
	// Web are the page's files, and WebPolicy its Content-Security-Policy; nil: no page.
	Web       fs.FS
	WebPolicy string

	AccessLog bool // log every request, not only failures
	Log       *slog.Logger
	Metrics   prometheus.Registerer
	Now       func() time.Time // default time.Now
	Rand      io.Reader        // default crypto/rand
}

const (
	// wakeEvery, thawEvery bound what requests make us ask of the API server, per room.
	wakeEvery = 2 * time.Second
	thawEvery = 3 * time.Second
	// clusterTimeout bounds it in time.
	clusterTimeout = 5 * time.Second
	// addressesKept bounds the memory of limits.
	addressesKept = 10_000
	// Messages that one session may post, per second over time and at once.
	postsPerSecond, postsBurst = 2, 10
	// Commands that it may give, as over the data channel.
	commandsPerSecond, commandsBurst = 20, 40
	// How often it may look at the whole room, which costs the pod more than a command.
	looksPerSecond, looksBurst = 2, 10
)

// Gateway serves the HTTP API. Safe for concurrent use.
type Gateway struct {
	cfg     Config
	now     func() time.Time
	rand    io.Reader
	metrics *metrics

	desk    *admission.Desk
	minter  *token.Minter
	tickets *token.Verifier

	wakes, thaws *flight.Group[struct{}]
	guestLimit   *limiter // per address
	postRate     *limiter // per member
	commandRate  *limiter // per session, or subject from outside; so is lookRate
	lookRate     *limiter
	streams      *streams
	claims       *claims
	handler      http.Handler
}

// New makes a Gateway.
func New(cfg Config) (*Gateway, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	g := &Gateway{cfg: cfg, now: cfg.Now, rand: cfg.Rand, metrics: newMetrics(cfg.Metrics)}
	g.minter = token.NewMinter(cfg.Credentials.Ring, g.now, g.rand)
	g.desk = admission.New(g.minter, admission.WithClock(g.now), admission.WithRand(g.rand))
	g.tickets = token.NewVerifier(cfg.Credentials.Public, g.now)
	g.wakes = flight.New[struct{}](wakeEvery, clusterTimeout, g.now)
	g.thaws = flight.New[struct{}](thawEvery, clusterTimeout, g.now)
	g.guestLimit = newLimiter(cfg.Guests.PerSecond, cfg.Guests.Burst, addressesKept, g.now)
	g.postRate = newLimiter(postsPerSecond, postsBurst, addressesKept, g.now)
	g.commandRate = newLimiter(commandsPerSecond, commandsBurst, addressesKept, g.now)
	g.lookRate = newLimiter(looksPerSecond, looksBurst, addressesKept, g.now)
	g.streams = newStreams(g)
	g.claims = &claims{rooms: map[types.UID]claim{}}
	routes := g.routes()
	if cfg.Web != nil {
		page, err := newPage(cfg.Web, cfg.WebPolicy)
		if err != nil {
			return nil, err
		}
		routes = append(routes, page.routes()...)
	}
	g.handler = g.cors(g.mux(routes))
	return g, nil
}

// ServeHTTP implements http.Handler.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) { g.handler.ServeHTTP(w, r) }

// Limits of bodies in bytes.
const (
	maxJSON  = 16 << 10
	maxRoom  = 256 << 10 // 320 subjects of 256 bytes, and some
	maxOffer = 64 << 10
)

// routes are the API. docs/openapi.yaml has the same ones.
func (g *Gateway) routes() []route {
	jsonBody := []string{typeJSON}
	return append(g.commandRoutes(), []route{
		{method: "GET", path: "/.well-known/jwks.json", handle: g.jwks},

		{method: "POST", path: "/v1/guests", maxBody: maxJSON, types: jsonBody, handle: g.createGuest},

		{method: "POST", path: "/v1/rooms", maxBody: maxRoom, types: jsonBody, handle: g.createRoom},
		{method: "GET", path: "/v1/rooms/{namespace}/{room}", handle: g.getRoom},
		{method: "DELETE", path: "/v1/rooms/{namespace}/{room}", handle: g.deleteRoom},
		{method: "POST", path: "/v1/rooms/{namespace}/{room}/invites", maxBody: maxJSON, types: jsonBody, handle: g.createInvite},
		{method: "DELETE", path: "/v1/rooms/{namespace}/{room}/invites", handle: g.resetInvites},
		{method: "GET", path: "/v1/rooms/{namespace}/{room}/state", handle: g.getState},
		{method: "GET", path: "/v1/rooms/{namespace}/{room}/removed", handle: g.getRemoved},

		{method: "POST", path: "/v1/rooms/{namespace}/{room}/join", maxBody: maxJSON, types: jsonBody, handle: g.join},
		{method: "POST", path: "/v1/groups/{group}/join", maxBody: maxJSON, types: jsonBody, handle: g.joinGroup},
		{method: "POST", path: "/v1/rooms/{namespace}/{room}/sessions/{session}/feedback", maxBody: maxJSON, types: jsonBody, handle: g.feedback},
		{method: "DELETE", path: "/v1/rooms/{namespace}/{room}/sessions/{session}", handle: g.leave},

		{method: "GET", path: "/v1/rooms/{namespace}/{room}/messages", handle: g.history},
		{method: "POST", path: "/v1/rooms/{namespace}/{room}/messages", maxBody: maxJSON, types: jsonBody, handle: g.post},
		{method: "GET", path: "/v1/rooms/{namespace}/{room}/events", stream: true, handle: g.events},

		{method: "POST", path: "/rtc/{namespace}/{room}", maxBody: maxOffer, types: []string{typeSDP}, handle: g.offer},
		{method: "PATCH", path: "/rtc/{namespace}/{room}/{epoch}/{session}", maxBody: maxOffer, types: []string{typeSDP, typeTrickle}, handle: g.restart},
		{method: "DELETE", path: "/rtc/{namespace}/{room}/{epoch}/{session}", handle: g.hangup},
	}...)
}

// jwks publishes the keys that tickets and room tokens can be verified with.
func (g *Gateway) jwks(w http.ResponseWriter, _ *http.Request) error {
	public := g.cfg.Credentials.Public()
	if public == nil {
		return refuse(http.StatusServiceUnavailable, codeKeysNotReady, "the keys are not there yet").later()
	}
	body, err := public.Marshal()
	if err != nil {
		return fmt.Errorf("publishing keys: %w", err)
	}
	w.Header().Set("Content-Type", typeJSON)
	w.Header().Set("Cache-Control", "public, max-age=60") // a key is published minutes before it signs
	_, _ = w.Write(body)                                  // the caller may have gone
	return nil
}

// cors lets pages of the allowed origins call. There are no cookies here, so no
// page can do more than whoever holds the credential that it sends.
func (g *Gateway) cors(next http.Handler) http.Handler {
	if len(g.cfg.AllowedOrigins) == 0 {
		return next
	}
	anywhere := slices.Contains(g.cfg.AllowedOrigins, "*")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from := r.Header.Get("Origin")
		w.Header().Add("Vary", "Origin")
		if from == "" || !anywhere && !slices.Contains(g.cfg.AllowedOrigins, from) {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Access-Control-Allow-Origin", from)
		w.Header().Set("Access-Control-Expose-Headers", "ETag, Link, Location, Retry-After")
		if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
			w.Header().Set("Access-Control-Allow-Methods", "GET, POST, PATCH, DELETE")
			w.Header().Set("Access-Control-Allow-Headers", "Authorization, Content-Type, If-Match, Last-Event-ID, "+headerUser)
			w.Header().Set("Access-Control-Max-Age", "600")
			w.WriteHeader(http.StatusNoContent)
			return
		}
		next.ServeHTTP(w, r)
	})
}
