// Package bot is a participant without a browser: it joins a room through the
// gateway the way the web client does, with a real PeerConnection, plays Opus
// frames into its microphone and hands over the frames that it hears. The demo and
// the end-to-end tests are made of bots.
//
// A Bot is one media connection. A Member is a bot that keeps its place across as many of
// them as it takes.
package bot

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"
)

// Config says who joins what.
type Config struct {
	Gateway    string // base URL
	Room       string // namespace/name; or set Group
	Group      string // join by the group's ID instead
	Credential string // a ticket, or what else the gateway takes as a bearer
	Name       string
	Invite     string // of a link; empty: it was not invited by one
	Slots      int    // receiving m-lines; default 3
	Client     *http.Client
}

// ProblemError is the gateway's typed refusal (RFC 9457).
type ProblemError struct {
	Status int    `json:"status"`
	Code   string `json:"code"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
}

func (p *ProblemError) Error() string {
	return fmt.Sprintf("%s (HTTP %d): %s", p.Code, p.Status, p.Detail)
}

// Grant is the answer to a join: a place, and the token that opens it.
type Grant struct {
	Token   string `json:"token"`
	Session string `json:"session"`
	Member  uint32 `json:"member"`
	Epoch   uint64 `json:"epoch"`
	GroupID string `json:"groupID"`
	Role    string `json:"role"`
	RTC     string `json:"rtc"`
}

// Confirmed is the answer to the feedback: the bot has entered.
type Confirmed struct {
	GroupID string `json:"groupID"`
	Member  uint32 `json:"member"`
	Mic     *struct {
		Index int `json:"index"`
	} `json:"mic"`
}

// Frame is one Opus frame that a slot received.
type Frame struct {
	Slot    int
	Member  uint32 // who spoke: the packet's CSRC; 0 in a silence tail
	Payload []byte
	Epoch   uint64    // of the room that it came from
	At      time.Time // when it arrived
}

// Bot is one participant. Call Ask, Connect and Confirm in turn (or Join), then
// Play, Do and Leave from any goroutine; Close in the end.
type Bot struct {
	cfg     Config
	Grant   Grant
	Entered Confirmed

	pc      *webrtc.PeerConnection
	uplink  *webrtc.TrackLocalStaticRTP
	channel *webrtc.DataChannel
	up      chan struct{}
	down    chan struct{}
	opened  chan struct{}
	frames  chan Frame
	readers sync.WaitGroup
	state   talker
	calls   calls
	hear    func(Frame) // takes what is heard
	signs   signs
	news    chan news // what a Member has to know; more than it reads is dropped
}

// New makes a bot that has not asked for anything yet.
func New(cfg Config) *Bot {
	if cfg.Slots == 0 {
		cfg.Slots = 3
	}
	if cfg.Client == nil {
		cfg.Client = http.DefaultClient
	}
	b := &Bot{cfg: cfg, up: make(chan struct{}), down: make(chan struct{}), opened: make(chan struct{}), frames: make(chan Frame, 4096),
		calls: newCalls(), news: make(chan news, 16), signs: signs{mic: -1}}
	b.hear = func(f Frame) {
		select {
		case b.frames <- f:
		default:
		}
	}
	return b
}

// Guest gets an identity for somebody without one from a gateway that lets guests in:
// a ticket, to be used as the Credential.
func Guest(ctx context.Context, gateway, name string) (string, error) {
	var g struct {
		Ticket string `json:"ticket"`
	}
	b := New(Config{Gateway: gateway})
	if err := b.call(ctx, http.MethodPost, "/v1/guests", "", map[string]string{"name": name}, &g); err != nil {
		return "", err
	}
	return g.Ticket, nil
}

// Join does Ask, Connect and Confirm.
func Join(ctx context.Context, cfg Config) (*Bot, error) {
	b := New(cfg)
	if err := enter(ctx, b); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

func enter(ctx context.Context, b *Bot) error {
	for _, step := range []func(context.Context) error{b.Ask, b.Connect, b.Confirm} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Ask asks for a place: on success a token is minted.
func (b *Bot) Ask(ctx context.Context) error {
	path := "/v1/rooms/" + b.cfg.Room + "/join"
	if b.cfg.Group != "" {
		path = "/v1/groups/" + b.cfg.Group + "/join"
	}
	wish := map[string]string{"name": b.cfg.Name}
	if b.cfg.Invite != "" {
		wish["invite"] = b.cfg.Invite
	}
	return b.call(ctx, http.MethodPost, path, b.cfg.Credential, wish, &b.Grant)
}

// Connect offers, and returns when the media connection stands.
func (b *Bot) Connect(ctx context.Context) error {
	offer, err := b.offer()
	if err != nil {
		return err
	}
	answer, err := b.signal(ctx, offer)
	if err != nil {
		return err
	}
	if err := b.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}); err != nil {
		return fmt.Errorf("taking the answer: %w", err)
	}
	select {
	case <-b.up:
		return nil
	case <-b.down:
		return errors.New("the media connection failed")
	case <-ctx.Done():
		return fmt.Errorf("waiting for the media connection: %w", ctx.Err())
	}
}

// Confirm feeds back that the association succeeded; the bot enters.
func (b *Bot) Confirm(ctx context.Context) error {
	return b.call(ctx, http.MethodPost, b.sessionPath()+"/feedback", b.Grant.Token, map[string]string{"outcome": "connected"}, &b.Entered)
}

// Leave ends the session for good.
func (b *Bot) Leave(ctx context.Context) error {
	return b.call(ctx, http.MethodDelete, b.sessionPath(), b.Grant.Token, nil, nil)
}

// Down is closed when the media connection is gone.
func (b *Bot) Down() <-chan struct{} { return b.down }

// Frames are what the bot hears, silence tails included. Frames are dropped when
// nobody takes them.
func (b *Bot) Frames() <-chan Frame { return b.frames }

// Close ends the connection and waits for every goroutine.
func (b *Bot) Close() error {
	if b.pc == nil {
		return nil
	}
	err := b.pc.GracefulClose()
	b.readers.Wait()
	return err
}

func (b *Bot) sessionPath() string {
	room := b.cfg.Room
	if room == "" {
		room = strings.TrimPrefix(b.Grant.RTC, "/rtc/")
	}
	return "/v1/rooms/" + room + "/sessions/" + b.Grant.Session
}

// call sends JSON and reads JSON, or a *ProblemError.
func (b *Bot) call(ctx context.Context, method, path, bearer string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	res, err := b.send(ctx, method, path, "application/json", bearer, body)
	if err != nil {
		return err
	}
	if out == nil || len(res) == 0 {
		return nil
	}
	if err := json.Unmarshal(res, out); err != nil {
		return fmt.Errorf("%s %s: reading the answer: %w", method, path, err)
	}
	return nil
}

// signal posts the offer (RFC 9725).
func (b *Bot) signal(ctx context.Context, offer string) (string, error) {
	answer, err := b.send(ctx, http.MethodPost, b.Grant.RTC, "application/sdp", b.Grant.Token, []byte(offer))
	return string(answer), err
}

func (b *Bot) send(ctx context.Context, method, path, contentType, bearer string, body []byte) ([]byte, error) {
	res, err := b.ask(ctx, method, path, contentType, bearer, body)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	return answer, nil
}

// maxAnswer is how much of an answer is read, in bytes.
const maxAnswer = 1 << 20

// ask returns the response to a request that was granted; else the error is a *ProblemError if
// there was an answer. The caller closes its body.
func (b *Bot) ask(ctx context.Context, method, path, contentType, bearer string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, b.cfg.Gateway+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", contentType)
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	res, err := b.cfg.Client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	if res.StatusCode < 300 {
		return res, nil
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	p := &ProblemError{Status: res.StatusCode}
	if json.Unmarshal(answer, p) != nil || p.Code == "" {
		p.Code, p.Detail = "unknown", strings.TrimSpace(string(answer))
	}
	return nil, fmt.Errorf("%s %s: %w", method, path, p)
}
