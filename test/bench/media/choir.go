//go:build linux

package main

import (
	"context"
	"time"

	"voiceroom.dev/voiceroom/test/bench/media/client"
)

const (
	// audible is how many talkers are loud at a time, the others being on their microphones in silence, and
	// turn how many frames pass between two changes of one of them.
	audible = 3
	turn    = 35
	// Levels in -dBov (RFC 6464).
	loud, quiet = 25, 75
)

// choir is the talkers of one room. Everybody says speech all the time, for nobody's encoder stops in silence
// here: that is the most that a room can be asked to forward. Who is loud changes. One talker's
// frames come evenly between those of the others.
type choir struct {
	talkers []*client.Client
	frames  [][]byte
	stamp   bool // write the time into frames, which nobody could decode then

	round   int
	stopped time.Time
	err     error
}

// play makes everybody talk until stop is called.
func (c *choir) play(context.Context) (stop func() error, err error) {
	ctx, cancel := context.WithCancel(context.Background())
	if !c.stopped.IsZero() {
		for _, t := range c.talkers {
			t.Pause(time.Since(c.stopped))
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.talk(ctx)
	}()
	return func() error {
		cancel()
		<-done
		c.stopped = time.Now()
		return c.err
	}, nil
}

// talk says frame after frame, each when it is due.
func (c *choir) talk(ctx context.Context) {
	apart := client.FrameTime / time.Duration(len(c.talkers))
	timer := time.NewTimer(0)
	defer timer.Stop()
	for due := time.Now(); ; c.round++ {
		for i, t := range c.talkers {
			timer.Reset(time.Until(due))
			select {
			case <-ctx.Done():
				return
			case <-timer.C:
			}
			due = due.Add(apart)
			level, voice := uint8(quiet), false
			if c.loud(i) {
				level, voice = loud, true
			}
			if err := t.Send(c.frames[(c.round+31*i)%len(c.frames)], level, voice, c.stamp); err != nil {
				c.err = err
				return
			}
		}
	}
}

// loud says whether a talker is one of those who speak now.
func (c *choir) loud(talker int) bool {
	n := len(c.talkers)
	return (talker-c.round/turn%n+n)%n < audible
}
