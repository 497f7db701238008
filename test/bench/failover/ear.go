package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/hack/bot"
)

// ear notes when a member first hears each talker in the newest epoch.
type ear struct {
	of      *bot.Member
	changed chan struct{} // of capacity 1

	mu    sync.Mutex
	epoch uint64
	first map[uint32]time.Time // by talker
}

func (e *ear) listen(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case f := <-e.of.Frames():
			if f.Member != 0 && e.note(f) {
				select {
				case e.changed <- struct{}{}:
				default:
				}
			}
		}
	}
}

// note says whether the frame is the first of its talker in its epoch.
func (e *ear) note(f bot.Frame) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if f.Epoch > e.epoch {
		e.epoch, e.first = f.Epoch, map[uint32]time.Time{}
	}
	if _, heard := e.first[f.Member]; heard || f.Epoch < e.epoch {
		return false
	}
	e.first[f.Member] = f.At
	return true
}

// await waits until all talkers were heard in an epoch after this one, and returns when
// the last of them was.
func (e *ear) await(ctx context.Context, epoch uint64, talkers []uint32) (time.Time, error) {
	for {
		if last, all := e.heard(epoch, talkers); all {
			return last, nil
		}
		select {
		case <-e.changed:
		case <-e.of.Ended():
			return time.Time{}, errors.New("is out of the room")
		case <-ctx.Done():
			return time.Time{}, fmt.Errorf("does not hear everybody: %w", ctx.Err())
		}
	}
}

func (e *ear) heard(epoch uint64, talkers []uint32) (last time.Time, all bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.epoch <= epoch {
		return last, false
	}
	for _, t := range talkers {
		at, ok := e.first[t]
		if !ok {
			return last, false
		}
		if at.After(last) {
			last = at
		}
	}
	return last, true
}

// seats is what a fail-over must not change, a line for each member and microphone.
func (r *room) seats(ctx context.Context, claim *v1alpha1.RoomMediaStatus) (string, error) {
	state, err := r.bench.dialer.Pod(claim.Endpoint, claim.PodUID).Get(ctx, 0)
	if err != nil {
		return "", fmt.Errorf("reading the seats at pod %s: %w", claim.Pod, err)
	}
	var b strings.Builder
	for _, m := range state.Members {
		_, _ = fmt.Fprintf(&b, "member %d %s: %s, %s, hand %v, priority %v, muted in chat %v\n", m.ID, m.Subject, m.Role, m.Status, m.Hand != nil, m.Priority, m.ChatMuted)
	}
	for _, m := range state.Mics {
		_, _ = fmt.Fprintf(&b, "mic %d: member %d, muted %v, by a moderator %v\n", m.Index, m.Member, m.Muted, m.ModMuted)
	}
	_, _ = fmt.Fprintf(&b, "host %s\n", state.Settings.Host)
	return b.String(), nil
}
