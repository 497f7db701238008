package room

import (
	"fmt"
	"testing"
	"time"
)

// What is remembered of those who left does not grow for ever; who may not come in again is
// forgotten last, who is here or banned by the spec never.
func TestRecordsAreForgotten(t *testing.T) {
	b := newBench(t, func(s *Spec) { s.Banned = []string{"spec-banned"} })
	b.enter(ann)
	b.enter("here")
	b.do(as(ann), ChatMute{Member: b.number("here"), Muted: true})
	throwOut := func(subject string, ban bool) {
		b.wait(time.Millisecond)
		b.durable()
		b.do(as(ann), Kick{Member: b.enter(subject).ID, Ban: ban})
	}
	throwOut("banned", true)
	b.enter("muted")
	b.do(as(ann), MuteMember{Member: b.number("muted"), Muted: true})
	b.do(as("muted"), Leave{})
	throwOut("kicked-first", false)
	for i := len(b.View().Records); i < MaxRecords; i++ {
		throwOut(fmt.Sprint("guest:", i), false)
	}
	expect := func(remembered int, want map[string]bool) {
		t.Helper()
		if got := len(b.View().Records); got != remembered {
			t.Fatalf("%d records, want %d", got, remembered)
		}
		for subject, want := range want {
			if got := b.View().Record(subject).says(); got != want {
				t.Errorf("%s is remembered: %t, want %t", subject, got, want)
			}
		}
	}
	expect(MaxRecords, map[string]bool{"muted": true, "kicked-first": true})
	throwOut("one", false)
	expect(MaxRecords, map[string]bool{"muted": false, "kicked-first": true, "one": true})
	throwOut("two", false)
	expect(MaxRecords, map[string]bool{"kicked-first": false, "one": true, "two": true, "here": true, "banned": true, "spec-banned": true})
}
