package media

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"voiceroom.dev/voiceroom/room"
)

// happened are the public and private halves of events from one number to another.
func happened(epoch, from, to uint64) []room.Event {
	var events []room.Event
	for seq := from; seq <= to; seq++ {
		events = append(events, room.Event{Epoch: epoch, Seq: seq, Type: room.EventMember, Member: &room.Member{ID: uint32(seq), Name: "ann", Status: room.Entered, Subject: fmt.Sprint("secret", seq)}})
	}
	return events
}

// Each client is told of what it does not know yet: in order, in messages of bounded size, without what is private.
func TestNews(t *testing.T) {
	tests := []struct {
		name     string
		had, all uint64 // everybody was told of the first, and all of them happened
		told     uint64
		messages int
		ok       bool
	}{
		{"nothing has happened", 0, 0, 0, 0, true},
		{"nothing new", 0, 5, 5, 0, true},
		{"one", 0, 5, 4, 1, true},
		{"all", 3, 5, 3, 1, true},
		{"a full message", 0, maxBatch, 0, 1, true},
		{"messages", 0, 2*maxBatch + 1, 0, 3, true},
		{"as much as is told", 0, maxNews, 0, maxNews / maxBatch, true},
		{"too much", 0, maxNews + 1, 0, 0, false},
		{"of which enough is known", 0, maxNews + 1, 1, maxNews / maxBatch, true},
		{"what is not known any more", 3, 5, 2, 0, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var n news
			if test.all > 0 {
				n.add(happened(1, 1, 9)) // of the epoch before
			}
			n.add(happened(2, 1, test.all))
			n.told(test.had)
			for range 2 {
				messages, ok := n.since(test.told)
				if len(messages) != test.messages || ok != test.ok {
					t.Fatalf("%d messages, %v; want %d, %v", len(messages), ok, test.messages, test.ok)
				}
				seq := test.told
				for _, m := range messages {
					var batch eventBatch
					if err := json.Unmarshal(m, &batch); err != nil {
						t.Fatal(err)
					}
					for _, e := range batch.Events {
						if seq++; e.Seq != seq || e.Epoch != 2 || e.Member == nil || e.Member.Subject != "" {
							t.Fatalf("event %d: %+v", seq, e)
						}
					}
				}
				if ok && seq != max(test.all, test.told) {
					t.Errorf("told up to %d", seq)
				}
			}
		})
	}
}

// In a large room those who only listen are told in turns, nobody later than in maxTurn beats. Who speaks
// or moderates, or is told who is on its slots, is told at once. Heartbeats name what was told.
func TestTurns(t *testing.T) {
	k := newTestKeeper(t)
	if err := k.do(room.Control, room.Renew{Until: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	for _, subject := range []string{"ann", "bob", "cy", "dee"} { // the host; she and bob have the microphones
		for _, c := range []room.Command{room.Reserve{Subject: subject, Session: subject}, room.Open{Session: subject}, room.Associate{Session: subject}, room.Enter{Session: subject}} {
			if err := k.do(room.Control, c); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := k.do(room.Control, room.SetRole{Member: 3, Role: room.CoHost}); err != nil {
		t.Fatal(err)
	}
	const clients = 2*tellings + 1
	sessions := mutes(t, k, clients)
	for _, s := range sessions {
		s.known = k.room.View().Seq
	}
	told := make([]int, clients)
	for range 2 * maxTurn {
		change(t, k, 2)
		k.beats++
		k.publish()
		now := k.room.View().Seq
		for i, s := range sessions {
			if s.stale {
				t.Fatalf("client %d needs a snapshot", i+1)
			}
			if s.known == now {
				told[i]++
			} else if late := (now - s.known) / 2; late > 2 || i < 3 {
				t.Errorf("member %d is %d beats late", i+1, late)
			}
		}
	}
	for i, n := range told {
		if prompt := i < 3; prompt && n != 2*maxTurn || !prompt && (n < 2*maxTurn/3 || n > 2*maxTurn/3+1) {
			t.Errorf("member %d was told %d times", i+1, n)
		}
	}
	if kept := len(k.publisher.news.events); kept > 4 {
		t.Errorf("%d events are kept", kept)
	}
}

// Rooms are told as often as they can pay for.
func TestTurnOf(t *testing.T) {
	for clients, want := range map[int]int{0: 1, 1: 1, tellings: 1, tellings + 1: 2, 3 * tellings: 3, 100 * tellings: maxTurn} {
		if got := turnOf(clients); got != want {
			t.Errorf("%d clients: every %d beats, want %d", clients, got, want)
		}
	}
}
