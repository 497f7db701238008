package room_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"voiceroom.dev/voiceroom/room"
)

// BenchmarkDo is what commands cost in rooms of two sizes. The floor, measured in the same
// run, is finding a member in a sorted slice and putting a changed copy in its place.
func BenchmarkDo(b *testing.B) {
	for _, members := range []int{100, 10_000} {
		b.Run(fmt.Sprintf("members=%d", members), func(b *testing.B) {
			crowd := newCrowd(b, members)
			floor := crowd.floor(b)
			for _, bench := range []struct {
				name     string
				commands func(i int) // it leaves the room as it was
				n        int         // how many they are
			}{
				{"join-leave", crowd.joinAndLeave, 6},
				{"take-leave-mic", crowd.takeAndLeaveMic, 2},
				{"kick-unban-join", crowd.kickAndRejoin, 6},
			} {
				b.Run(bench.name, func(b *testing.B) {
					b.ReportAllocs()
					for i := range b.N {
						bench.commands(i)
					}
					each := float64(b.Elapsed().Nanoseconds()) / float64(b.N*bench.n)
					b.ReportMetric(each, "ns/command")
					b.ReportMetric(each/floor, "x-floor")
				})
			}
		})
	}
}

// BenchmarkRejoin is what it costs that all members of a room come back after a fail-over.
func BenchmarkRejoin(b *testing.B) {
	for _, members := range []int{100, 10_000} {
		b.Run(fmt.Sprintf("members=%d", members), func(b *testing.B) {
			crowd := newCrowd(b, members)
			floor, seed := crowd.floor(b), crowd.room.State()
			b.ResetTimer()
			for range b.N {
				crowd.room = room.New(seed.ID, seed.Epoch+1, *seed.Settings.Spec, seed, crowd.now)
				for i := range members { // all at once: nobody is done before everybody has begun
					crowd.give(room.Reserve{Subject: subjectOf(i), Session: subjectOf(i)})
				}
				for i := range members {
					crowd.give(room.Open{Session: subjectOf(i)})
					crowd.give(room.Associate{Session: subjectOf(i)})
				}
			}
			each := float64(b.Elapsed().Nanoseconds()) / float64(b.N*members*3)
			b.ReportMetric(each, "ns/command")
			b.ReportMetric(each/floor, "x-floor")
		})
	}
}

// crowd is a room with many members in it, the first of them on microphones.
type crowd struct {
	testing.TB
	room    *room.Room
	now     time.Time
	members int
	joined  int
}

const crowdMics = 20

func newCrowd(b testing.TB, members int) *crowd {
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	spec := room.Spec{Generation: 1, Owner: subjectOf(0), MaxMembers: members + 1, MaxMics: crowdMics, Access: room.Public, MicPolicy: room.OnRequest}
	c := &crowd{TB: b, room: room.New(room.ID{UID: "uid"}, 1, spec, nil, now), now: now, members: members}
	c.give(room.Renew{Until: now.Add(time.Hour)})
	for i := range members {
		c.join(subjectOf(i), subjectOf(i))
	}
	for i := 1; i < crowdMics/2; i++ {
		c.give(room.GiveMic{Member: uint32(i + 1), Index: -1})
	}
	return c
}

func subjectOf(i int) string { return fmt.Sprint("key:shop:user-", i) }

func (c *crowd) give(command room.Command) {
	if _, err := c.room.Do(c.now, room.Control, command); err != nil {
		c.Fatal(err)
	}
}

func (c *crowd) join(subject, session string) {
	c.give(room.Reserve{Subject: subject, Session: session})
	c.give(room.Open{Session: session})
	c.give(room.Associate{Session: session})
	c.give(room.Enter{Session: session})
}

func (c *crowd) joinAndLeave(int) {
	c.joined++
	session := fmt.Sprint("session-", c.joined)
	c.join(session, session)
	c.give(room.Leave{Session: session})
	c.give(room.Renew{Durable: c.room.View().Seq}) // the place can be given away again
}

func (c *crowd) takeAndLeaveMic(int) {
	for _, command := range []room.Command{room.TakeMic{Index: -1}, room.LeaveMic{}} {
		if _, err := c.room.Do(c.now, room.Actor{Session: subjectOf(0)}, command); err != nil {
			// The owner came in with the first microphone.
			if _, err = c.room.Do(c.now, room.Actor{Session: subjectOf(0)}, room.LeaveMic{}); err != nil {
				c.Fatal(err)
			}
		}
	}
}

// kickAndRejoin throws out whoever has been here longest, but for the owner and who is on
// a microphone, and lets it in again.
func (c *crowd) kickAndRejoin(int) {
	m := c.room.View().Members[crowdMics]
	c.give(room.Kick{Member: m.ID})
	c.give(room.Unban{Member: m.ID})
	c.joined++
	c.join(m.Subject, fmt.Sprint("session-", c.joined))
}

// floor is the time, in nanoseconds, to replace one member in a slice of them.
func (c *crowd) floor(b *testing.B) float64 {
	members := slices.Clone(c.room.View().Members)
	const times = 1_000_000
	begin := time.Now()
	for i := range times {
		id := members[i%len(members)].ID
		at, _ := slices.BinarySearchFunc(members, id, func(m room.Member, id uint32) int { return int(m.ID) - int(id) })
		m := members[at]
		m.Priority = !m.Priority
		members[at] = m
	}
	floor := float64(time.Since(begin).Nanoseconds()) / times
	b.Logf("floor: %.0f ns", floor)
	return floor
}
