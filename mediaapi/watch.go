package mediaapi

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// Heartbeat is how often a watch sends a frame at least.
const Heartbeat = time.Second

// silence is how long a watch waits for a frame before it calls the pod lost: two of them
// and half of one that is late.
const silence = 5 * Heartbeat / 2

// smallFrame is what a watch has room for at first, in bytes: most events.
const smallFrame = 1 << 10

// heartbeat is a frame without anything.
var heartbeat = []byte("{}")

var errSilent = errors.New("the watch went silent")

// Watch calls fn for each frame until ctx ends, fn fails, the pod stops or goes
// silent; it always returns an error, io.EOF when the pod ended the stream. It
// returns ErrUnreachable when the pod was lost. Epoch 0 watches whatever epoch
// the room has. With after, the sequence number within epoch of the last event that the
// caller has, the pod goes on from there if it still remembers the next one; otherwise,
// and with 0, it begins with a snapshot. fn owns the frames; while it takes its time
// frames queue, and a watcher that falls far behind is sent a snapshot in place of the
// events it missed.
func (c *Client) Watch(parent context.Context, epoch, after uint64, fn func(Frame) error) error {
	ctx, cancel := c.within(parent)
	defer cancel()
	alarm := time.AfterFunc(silence, cancel)
	defer alarm.Stop()

	lost := func(err error) error {
		switch {
		case parent.Err() != nil:
			return fmt.Errorf("watching media pod %s: %w", c.endpoint, parent.Err())
		case c.life.Err() != nil:
			err = context.Cause(c.life)
		case ctx.Err() != nil:
			err = errSilent
		}
		return fmt.Errorf("watching media pod %s: %w: %w", c.endpoint, ErrUnreachable, err)
	}
	resp, err := c.send(ctx, http.MethodGet, "/v1/room/watch?"+epochQuery(epoch)+"&after="+strconv.FormatUint(after, 10), nil)
	switch {
	case err != nil && ctx.Err() != nil:
		return lost(err)
	case err != nil:
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(make([]byte, smallFrame), MaxState)
	for lines.Scan() {
		alarm.Stop() // fn may take its time: that is not the pod's
		var f Frame
		if bytes.Equal(lines.Bytes(), heartbeat) {
			// Most frames are: they need no decoder.
		} else if err := json.Unmarshal(lines.Bytes(), &f); err != nil {
			return fmt.Errorf("watching media pod %s: reading a frame: %w", c.endpoint, err)
		}
		if err := fn(f); err != nil {
			return err
		}
		alarm.Reset(silence)
	}
	if err := lines.Err(); err != nil {
		return lost(err)
	}
	return io.EOF
}
