// Package recording reads what processes of an earlier version said to each other, a JSON
// value a line, and checks that today's types still say it so.
package recording

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// longest is the longest line that a recording may have, in bytes.
const longest = 16 << 20

// Read returns the lines of a file.
func Read[T any](t testing.TB, path string) []T {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	var all []T
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, longest)
	for lines.Scan() {
		var line T
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		all = append(all, line)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// Same reads raw into value, a pointer to today's type, every field of it, and fails the
// test unless that is written the same again. what names it in the failure.
func Same(t testing.TB, what string, value any, raw json.RawMessage) {
	t.Helper()
	strict := json.NewDecoder(bytes.NewReader(raw))
	strict.DisallowUnknownFields()
	if err := strict.Decode(value); err != nil {
		t.Errorf("%s: reading %s: %v", what, raw, err)
		return
	}
	written, err := json.Marshal(value)
	if err != nil {
		t.Errorf("%s: writing %T: %v", what, value, err)
		return
	}
	Unchanged(t, what, raw, written)
}

// Unchanged fails the test unless two texts are the same JSON value.
func Unchanged(t testing.TB, what string, before, now []byte) {
	t.Helper()
	var then, today any
	if err := json.Unmarshal(before, &then); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(now, &today); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(then, today); diff != "" {
		t.Errorf("%s is said otherwise now (-then +now):\n%s", what, diff)
	}
}
