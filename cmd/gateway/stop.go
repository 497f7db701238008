package main

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"voiceroom.dev/voiceroom/gateway/keyring"
)

// lingering returns a context that ends a while after ctx: until then the gateway goes on
// serving although it is told to stop, for load balancers go on sending clients until
// they have heard that it is not ready. The function ends it at once, and waits.
func lingering(ctx context.Context, while time.Duration) (serving context.Context, end func()) {
	serving, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var waiting sync.WaitGroup
	waiting.Go(func() {
		defer cancel()
		select {
		case <-ctx.Done():
		case <-serving.Done():
			return
		}
		select {
		case <-time.After(while):
		case <-serving.Done():
		}
	})
	return serving, func() { cancel(); waiting.Wait() }
}

// readiness says whether clients are to be sent here. Chat is no part of it: without chat
// people still join, talk and moderate, and all replicas would turn them away at once.
// Neither is an API server that goes away later: what is cached lasts.
type readiness struct {
	stopping  <-chan struct{}
	keys      *keyring.Keyring
	following atomic.Bool // the cache is filled and followed
}

// check names what is missing.
func (c *readiness) check(r *http.Request) error {
	select {
	case <-c.stopping:
		return errors.New("stopping")
	default:
	}
	if err := c.keys.Ready(r); err != nil {
		return err
	}
	if !c.following.Load() {
		return errors.New("waiting for the API server, to fill the cache of rooms")
	}
	return nil
}
