package voiceroom

import (
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/types"
)

func TestTurns(t *testing.T) {
	var turns turns
	room := func(n int) types.NamespacedName {
		return types.NamespacedName{Namespace: "default", Name: fmt.Sprint(n)}
	}
	for n := range migrations {
		if wait := turns.take(room(n), epochZero); wait != 0 {
			t.Fatalf("room %d waits %v", n, wait)
		}
	}
	if wait := turns.take(room(0), epochZero); wait != 0 {
		t.Errorf("who has a turn waits %v for it", wait)
	}
	last := turns.take(room(migrations), epochZero)
	for n := range 10 * migrations {
		wait := turns.take(room(migrations+n), epochZero)
		if wait < last {
			t.Fatalf("room %d asks again after %v, the one before it after %v", n, wait, last)
		}
		last = wait
	}
	if last < 10*turnRetry {
		t.Errorf("the last of %d rooms asks again after %v", 10*migrations, last)
	}
	turns.end(room(3))
	if wait := turns.take(room(50), epochZero); wait != 0 {
		t.Errorf("with a turn free, a room waits %v", wait)
	}
	if wait := turns.take(room(51), epochZero); wait == 0 {
		t.Errorf("more than %d migrate at once", migrations)
	}
	if wait := turns.take(room(51), epochZero.Add(turnTime)); wait != 0 {
		t.Errorf("a turn that nobody gave back goes on: wait %v", wait)
	}
	for n := range 11 * migrations {
		turns.end(room(n))
	}
	if len(turns.until)+len(turns.waiting) != 0 {
		t.Errorf("of rooms that want none any more, %d have a turn and %d wait", len(turns.until), len(turns.waiting))
	}
}
