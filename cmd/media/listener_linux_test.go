package main

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"voiceroom.dev/voiceroom/media/transport/transporttest"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/test/bench/media/client"
)

// maxListener is what a listener with its data channel may take in the pod, heap and stack, in bytes.
const maxListener = 160 << 10

// participant is somebody who has entered the room.
type participant struct {
	*client.Client
	subject string
}

// enter lets somebody in, with an uplink, four slots that may ask for packets again, and the data channel.
func (c owned) enter(t *testing.T, pod *mediaapi.Client, subject string) participant {
	t.Helper()
	p, err := client.New(client.Options{Uplink: true, Slots: 4, Data: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	offer, err := p.Offer()
	if err != nil {
		t.Fatal(err)
	}
	offer = strings.ReplaceAll(offer, "a=fmtp:111", "a=rtcp-fb:111 nack\r\na=fmtp:111")
	if err := p.Connect(t.Context(), c.offer(t, pod, subject, offer)); err != nil {
		t.Fatal(err)
	}
	if _, err := pod.Command(t.Context(), 1, "", room.Enter{Session: subject}); err != nil {
		t.Fatal(err)
	}
	return participant{p, subject}
}

// hear lets the talkers speak until everybody has heard a second of all of them.
func hear(t *testing.T, talkers, all []participant) {
	t.Helper()
	before := make([]uint64, len(all))
	for i, p := range all {
		before[i] = p.Counts().Packets
	}
	frame := make([]byte, 80)
	deadline := time.Now().Add(transporttest.Patience)
	for heard := 0; heard < len(all); {
		for _, talker := range talkers {
			if err := talker.Send(frame, 20, true, false); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(client.FrameTime) // as they speak
		heard = 0
		for i, p := range all {
			if int(p.Counts().Packets-before[i]) >= 50*(len(talkers)-1) {
				heard++
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d heard the talkers", heard, len(all))
		}
	}
}

// inUse is what the process has on its heap and its stacks, in bytes.
func (p *process) inUse(t *testing.T) int {
	t.Helper()
	_, metrics := p.get(t, "/metrics")
	sum := 0
	for _, name := range []string{"go_memstats_heap_alloc_bytes", "go_memstats_stack_inuse_bytes"} {
		found := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindStringSubmatch(metrics)
		if found == nil {
			t.Fatalf("no %s", name)
		}
		n, err := strconv.ParseFloat(found[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		sum += int(n)
	}
	return sum
}

// What a listener takes in the pod is bounded: fifty more of them are let into a room whose four talkers
// all have heard, and hear them too. The process collects garbage all the time, so that its heap is what it needs.
func TestListenerIsSmall(t *testing.T) {
	binary := buildAsImage(t)
	t.Setenv("GOGC", "1")
	c := newCredentials(t)
	p := startBinary(t, binary, c.flags()...)
	const talkers, few, more = 4, 10, 50
	pod := c.open(t, p, few+more, talkers)
	all := []participant{c.enter(t, pod, "ann")} // the owner comes first
	fill := func(n int) int {
		for len(all) < n {
			all = append(all, c.enter(t, pod, fmt.Sprint("listener", len(all))))
		}
		hear(t, all[:talkers], all)
		return p.inUse(t)
	}
	before := fill(few)
	each := (fill(few+more) - before) / more
	t.Logf("%.1f KiB", float64(each)/1024)
	if each > maxListener {
		t.Errorf("a listener takes %d bytes, more than %d", each, maxListener)
	}
}
