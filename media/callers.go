package media

import (
	"sync"
	"time"

	"voiceroom.dev/voiceroom/token"
)

const (
	// callerMemory is how long a caller's token is taken for valid once it was verified: no longer than
	// two clocks may differ, which is how much longer one is taken in any case.
	callerMemory = 5 * time.Second
	// maxCallers is more than there are operators and gateways.
	maxCallers = 64
)

// callerSets are the keys of the two callers.
type callerSets [2]*token.PublicSet

// knownCallers remembers whose tokens were verified a moment ago: a gateway calls four times for each client
// that joins, with the same token, and to verify it costs more than to answer. Safe for concurrent
// use; the zero value knows nobody.
type knownCallers struct {
	mu     sync.Mutex
	tokens map[string]knownCaller
}

type knownCaller struct {
	name  string
	sets  callerSets // that verified it
	until time.Time
}

// find returns the name of the caller whose token was verified with these keys, a moment before now.
func (k *knownCallers) find(bearer string, sets callerSets, now time.Time) (name string, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	c, ok := k.tokens[bearer]
	return c.name, ok && c.sets == sets && now.Before(c.until)
}

func (k *knownCallers) add(bearer, name string, sets callerSets, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.tokens == nil || len(k.tokens) == maxCallers { // tokens are used for a minute: most of these are over
		k.tokens = map[string]knownCaller{}
	}
	k.tokens[bearer] = knownCaller{name: name, sets: sets, until: now.Add(callerMemory)}
}
