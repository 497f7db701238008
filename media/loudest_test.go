package media

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// What a talker of a choir does, in place of the level of its packets.
const (
	speaks = 30
	pauses = silent
	absent = -1 // sends nothing
)

// choir is talkers with the numbers 1, 2 ..., in the order of their grants, and a listener with two slots.
type choir struct {
	f       *forwarder
	session *session // the listener's
	wire    *wire
	talks   []*talk
}

// newChoir has one with priority, 0: nobody.
func newChoir(t *testing.T, talkers int, priority uint32) *choir {
	t.Helper()
	c := &choir{f: newPromptForwarder()}
	c.session, c.wire = listen(t, c.f, "listener", 2)
	var grants []grant
	for member := uint32(1); member <= uint32(talkers); member++ {
		s := &session{id: "talker"}
		grants = append(grants, grant{session: s, member: member, number: uint64(member), priority: member == priority})
		c.talks = append(c.talks, newTalk(s, 0))
	}
	c.f.setGrants(grants, nil, time.Now())
	return c
}

// play lets all send for a while, a packet each 20 ms.
func (c *choir) play(length time.Duration, levels ...int) {
	for ; length > 0; length -= 20 * time.Millisecond {
		for i, level := range levels {
			if level == absent {
				c.talks[i].packet.Arrival = c.talks[i].packet.Arrival.Add(20 * time.Millisecond)
				continue
			}
			c.talks[i].packet.Level = uint8(level)
			c.talks[i].next(c.f)
		}
	}
}

// Who begins to speak is heard from its first packet on: on a free slot, and on that of who has been quiet for
// longest. Nobody who speaks makes room, but for one with priority.
func TestFirstWord(t *testing.T) {
	for name, tc := range map[string]struct {
		before   []int // after the second has spoken, and then the first
		now      []int
		who      uint32
		priority uint32
		heard    int
		slots    []uint32
	}{
		"a free slot":                       {[]int{speaks, absent}, []int{speaks, speaks}, 2, 0, 3, []uint32{1, 2}},
		"one that has none":                 {[]int{speaks, absent, absent}, []int{speaks, absent, speaks}, 3, 0, 3, []uint32{1, 3}},
		"all have one, after silence":       {[]int{pauses, pauses}, []int{pauses, speaks}, 2, 0, 3, []uint32{1, 2}},
		"the second pauses":                 {[]int{speaks, pauses, pauses}, []int{speaks, pauses, speaks}, 3, 0, 3, []uint32{1, 3}},
		"the first pauses":                  {[]int{pauses, speaks, absent}, []int{pauses, speaks, speaks}, 3, 0, 3, []uint32{3, 2}},
		"both pause, the second for longer": {[]int{pauses, pauses, absent}, []int{pauses, pauses, speaks}, 3, 0, 3, []uint32{1, 3}},
		"both send nothing":                 {[]int{absent, absent, pauses}, []int{absent, absent, speaks}, 3, 0, 3, []uint32{1, 3}},
		"both speak":                        {[]int{speaks, speaks, pauses}, []int{speaks, speaks, speaks}, 3, 0, 0, []uint32{1, 2}},
		"both speak, it shouts":             {[]int{speaks, speaks, pauses}, []int{speaks, speaks, 0}, 3, 0, 0, []uint32{1, 2}},
		"both speak, it has priority":       {[]int{speaks, speaks, pauses}, []int{speaks, speaks, speaks}, 3, 3, 3, []uint32{1, 3}},
		"both shout, it has priority":       {[]int{0, 0, absent}, []int{0, 0, 45}, 3, 3, 3, []uint32{1, 3}},
	} {
		t.Run(name, func(t *testing.T) {
			c := newChoir(t, len(tc.before), tc.priority)
			nobody := slices.Repeat([]int{absent}, len(tc.before))
			c.play(100*time.Millisecond, append([]int{absent, speaks}, nobody[2:]...)...)
			c.play(400*time.Millisecond, nobody...)
			c.play(100*time.Millisecond, append([]int{speaks, absent}, nobody[2:]...)...)
			c.play(time.Second, tc.before...)
			before := c.wire.heard(tc.who)
			c.play(60*time.Millisecond, tc.now...)
			if got := c.wire.heard(tc.who) - before; got != tc.heard {
				t.Errorf("%d packets were heard, want %d", got, tc.heard)
			}
			if diff := cmp.Diff(tc.slots, slotsOf(c.session)); diff != "" {
				t.Errorf("slots (-want +got):\n%s", diff)
			}
		})
	}
}

// Who waits because others speak is heard as soon as one of them pauses for longer than between words.
func TestWaitsForAPause(t *testing.T) {
	c := newChoir(t, 3, 0)
	c.play(time.Second, speaks, speaks, speaks)
	if got := c.wire.heard(3); got != 0 {
		t.Fatalf("%d packets were heard while others spoke", got)
	}
	c.play(200*time.Millisecond, speaks, pauses, speaks)
	if got := c.wire.heard(3); got != 0 {
		t.Fatalf("%d packets were heard between words of others", got)
	}
	c.play(200*time.Millisecond, speaks, pauses, speaks)
	if got := c.wire.heard(3); got < 4 {
		t.Errorf("%d packets were heard in a pause", got)
	}
}
