package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"voiceroom.dev/voiceroom/hack/stack"
)

const operator = "system:serviceaccount:" + stack.SystemNamespace + ":voiceroom-operator"

// writes are numbers of requests by verb and resource.
type writes map[string]int

// written returns what the operator has written since the last call: for rooms, and apart
// from those what the pool, the election and Events took.
func (b *bench) written() (rooms, apart writes, err error) {
	all, err := b.audit.Next()
	if err != nil {
		return nil, nil, err
	}
	rooms, apart = writes{}, writes{}
	for _, w := range all {
		switch {
		case w.User != operator:
		case w.Resource == "leases", w.Resource == "events", strings.HasPrefix(w.Resource, "mediapools"), w.Resource == "pods" && w.Verb != "patch":
			apart[w.String()]++
		default:
			rooms[w.String()]++
		}
	}
	return rooms, apart, nil
}

func (w writes) total() int {
	n := 0
	for _, c := range w {
		n += c
	}
	return n
}

// each names the writes of one room, for so many rooms.
func (w writes) each(rooms int) string {
	if len(w) == 0 {
		return "none"
	}
	var parts []string
	for _, what := range slices.Sorted(maps.Keys(w)) {
		parts = append(parts, fmt.Sprintf("%.2f %s", float64(w[what])/float64(rooms), what))
	}
	return strings.Join(parts, ", ")
}
