package mediaapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"time"

	"voiceroom.dev/voiceroom/room"
)

// Limits of bodies in bytes. A room of 10,000 members takes about 3 MiB.
const (
	MaxState   = 16 << 20 // a room.State, alone or in a request or frame
	MaxRequest = 256 << 10
	maxProblem = 16 << 10
)

// callTimeout bounds each call but Watch; a shorter one comes with the context.
const callTimeout = 5 * time.Second

// ErrUnreachable says that a pod did not answer, or not as a media pod does:
// whether the call took effect is unknown. A refusal is a *room.Error instead.
var ErrUnreachable = errors.New("media pod unreachable")

// Client calls one media pod. Safe for concurrent use.
type Client struct {
	dialer   *Dialer
	endpoint string
	podUID   string
	life     context.Context //nolint:containedctx // of what the pod is called for, not of a call
}

// While returns a client whose calls last no longer than life. One that is over before the
// pod has answered is ErrUnreachable, and the cause of life's end.
func (c *Client) While(life context.Context) *Client {
	while := *c
	while.life = life
	return &while
}

// within derives the context of a call, which ends with the client's life too.
func (c *Client) within(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(c.life, cancel)
	return ctx, func() { stop(); cancel() }
}

// Put hands the pod a room, or a newer spec of the one it has.
func (c *Client) Put(ctx context.Context, r PutRequest) (*room.State, error) {
	return reply[room.State](ctx, c, http.MethodPut, "/v1/room", r)
}

// Get returns the room. Epoch 0 is whatever epoch it has.
func (c *Client) Get(ctx context.Context, epoch uint64) (*room.State, error) {
	return reply[room.State](ctx, c, http.MethodGet, "/v1/room?"+epochQuery(epoch), nil)
}

// Delete closes the room for everyone; the pod stops.
func (c *Client) Delete(ctx context.Context, epoch uint64, reason string) error {
	q := epochQuery(epoch) + "&reason=" + url.QueryEscape(reason)
	return c.do(ctx, http.MethodDelete, "/v1/room?"+q, nil, nil)
}

// Reserve takes a place.
func (c *Client) Reserve(ctx context.Context, r ReserveRequest) (*Reservation, error) {
	return reply[Reservation](ctx, c, http.MethodPost, "/v1/room/reservations", r)
}

// Session returns the member that a session is connected as. An unknown session, and
// one that is still to take over from another, is a *room.Error with UnknownSession.
// Epoch 0 is whatever epoch the room has.
func (c *Client) Session(ctx context.Context, epoch uint64, session string) (*SessionInfo, error) {
	return reply[SessionInfo](ctx, c, http.MethodGet, sessionPath(session)+"?"+epochQuery(epoch), nil)
}

// Subject returns the member that a subject is, whatever its status. A subject that has
// no place is a *room.Error with UnknownMember. Epoch 0 is whatever epoch the room has.
func (c *Client) Subject(ctx context.Context, epoch uint64, subject string) (*SessionInfo, error) {
	return reply[SessionInfo](ctx, c, http.MethodGet, "/v1/room/members?"+epochQuery(epoch)+"&subject="+url.QueryEscape(subject), nil)
}

// Command gives a command as the control plane or, with a session, as that member. It is
// in force when it returns.
func (c *Client) Command(ctx context.Context, epoch uint64, as string, cmd room.Command) (*CommandResult, error) {
	return c.command(ctx, epoch, as, cmd, false)
}

// CommandDurably is Command that returns once what the command did outlives the pod
// too, or after AwaitTime; the result says which.
func (c *Client) CommandDurably(ctx context.Context, epoch uint64, as string, cmd room.Command) (*CommandResult, error) {
	return c.command(ctx, epoch, as, cmd, true)
}

func (c *Client) command(ctx context.Context, epoch uint64, as string, cmd room.Command, await bool) (*CommandResult, error) {
	name, ok := commandNames[reflect.TypeOf(cmd)]
	if !ok {
		return nil, &room.Error{Code: room.BadCommand, Detail: fmt.Sprintf("%T does not travel", cmd)}
	}
	body, err := json.Marshal(cmd)
	if err != nil {
		return nil, fmt.Errorf("marshalling command %s: %w", name, err)
	}
	return reply[CommandResult](ctx, c, http.MethodPost, "/v1/room/commands",
		CommandRequest{Epoch: epoch, As: as, Type: name, Body: body, Await: await})
}

// commandNames are the wire names of the commands that travel.
var commandNames = func() map[reflect.Type]string {
	names := map[reflect.Type]string{}
	for _, name := range room.CommandNames() {
		if c, err := room.Decode(name, nil); err == nil {
			names[reflect.TypeOf(c)] = name
		}
	}
	return names
}()

// Renew lets strangers in for another Lease. seq is the event up to which the caller
// holds a replica of the room, see LeaseRequest; 0 if it keeps none.
func (c *Client) Renew(ctx context.Context, epoch, seq uint64) error {
	return c.do(ctx, http.MethodPut, "/v1/room/lease", LeaseRequest{Epoch: epoch, Seq: seq}, nil)
}

// Moved tells a pod that its room has a newer one, see MovedRequest. The pod says goodbye to
// clients as they arrive there, to all of them within seconds, and then ends. A pod that has
// ended is ErrUnreachable or refuses with RoomClosed or Stopping.
func (c *Client) Moved(ctx context.Context, r MovedRequest) error {
	return c.do(ctx, http.MethodPut, "/v1/room/moved", r, nil)
}

// Signal opens a session with a client's offer.
func (c *Client) Signal(ctx context.Context, r SignalRequest) (*SignalAnswer, error) {
	return reply[SignalAnswer](ctx, c, http.MethodPost, "/v1/room/sessions", r)
}

// Restart answers a client's offer that restarts ICE.
func (c *Client) Restart(ctx context.Context, session string, r SignalRequest) (*SignalAnswer, error) {
	return reply[SignalAnswer](ctx, c, http.MethodPatch, sessionPath(session), r)
}

// Hangup ends a session for the client that opened it.
func (c *Client) Hangup(ctx context.Context, session string, r HangupRequest) error {
	return c.do(ctx, http.MethodDelete, sessionPath(session), r, nil)
}

// PushKeys replaces the public keys. Sets that are nil stay as they are.
func (c *Client) PushKeys(ctx context.Context, k Keys) error {
	return c.do(ctx, http.MethodPut, "/v1/keys", k, nil)
}

func sessionPath(session string) string { return "/v1/room/sessions/" + url.PathEscape(session) }

func epochQuery(epoch uint64) string { return "epoch=" + strconv.FormatUint(epoch, 10) }

// reply is do with an answer of type T.
func reply[T any](ctx context.Context, c *Client, method, path string, body any) (*T, error) {
	var out T
	if err := c.do(ctx, method, path, body, &out); err != nil {
		return nil, err
	}
	return &out, nil
}

// do makes one call. out, if not nil, is filled from the answer.
func (c *Client) do(ctx context.Context, method, path string, body, out any) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	ctx, end := c.within(ctx)
	defer end()
	resp, err := c.send(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if out == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxProblem)) // so that the connection is used again
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, MaxState)).Decode(out); err != nil {
		return c.unreachable(ctx, method, path, fmt.Errorf("reading the answer: %w", err))
	}
	return nil
}

// send returns the response to a request that was granted. The caller closes its body.
func (c *Client) send(ctx context.Context, method, path string, body any) (*http.Response, error) {
	bearer, err := c.dialer.token(c.podUID)
	if err != nil {
		return nil, err
	}
	var payload io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("marshalling a request to media pod %s: %w", c.endpoint, err)
		}
		payload = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, "https://"+c.endpoint+path, payload)
	if err != nil {
		return nil, fmt.Errorf("calling media pod %s: %w", c.endpoint, err)
	}
	req.Header.Set("Authorization", "Bearer "+bearer)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.dialer.http.Do(req)
	if err != nil {
		return nil, c.unreachable(ctx, method, path, err)
	}
	if resp.StatusCode/100 == 2 {
		return resp, nil
	}
	defer func() { _ = resp.Body.Close() }()
	if refusal := readProblem(resp); refusal != nil {
		return nil, refusal
	}
	return nil, c.unreachable(ctx, method, path, fmt.Errorf("unexpected answer %s", resp.Status))
}

// unreachable wraps err. A call that its own caller gave up says nothing about the pod.
func (c *Client) unreachable(ctx context.Context, method, path string, err error) error {
	if c.life.Err() != nil {
		err = context.Cause(c.life)
	} else if errors.Is(ctx.Err(), context.Canceled) {
		return fmt.Errorf("%s %s at media pod %s: %w", method, path, c.endpoint, err)
	}
	return fmt.Errorf("%s %s at %s: %w: %w", method, path, c.endpoint, ErrUnreachable, err)
}
