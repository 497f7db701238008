package groupchat

import (
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// TestPaceBoundsAllGroups: however many groups have news, so many numbers are
// written in a second.
func TestPaceBoundsAllGroups(t *testing.T) {
	var p pace
	start := time.Date(2026, 11, 3, 12, 0, 0, 0, time.UTC)
	const groups, seconds = 1000, 5
	written := 0
	for tick := range seconds * 10 {
		now := start.Add(time.Duration(tick) * 100 * time.Millisecond)
		for g := range groups {
			uid := types.UID(fmt.Sprint(g))
			if p.wait(uid, now) == 0 {
				p.wrote(uid, now)
				written++
			}
		}
	}
	// A burst at first, then the rate.
	if want := writesPerSecond * (seconds + 1); written > want || written < want-writesPerSecond {
		t.Errorf("%d writes in %d s, want about %d", written, seconds, want)
	}
	if len(p.last) > 2*writesPerSecond {
		t.Errorf("%d groups are remembered, long after they were written", len(p.last))
	}
}
