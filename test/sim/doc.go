// Package sim is one room with everything around it in one goroutine: clients, gateways,
// operators, media pods, the API server, the chat server and the network between them, which
// delays, repeats, reorders and loses messages, while pods and processes crash, stop for a
// while, or are cut off from each other. A seed decides all of it: the same seed does the very
// same again, to the last message.
//
//	go test ./test/sim -seeds=100000          # more of them
//	go test ./test/sim -run Seeds -seed=4711 -seeds=1 -lines=5000   # one, with its whole story
//
// What decides is the real code: package room in every pod, package admission in every
// gateway and operator, package token's tokens and their verification. Both run unchanged as
// coroutines (see process): a call over the network parks the caller until the answer, a
// timeout or a crash comes. What is written again here, as thinly as could be, is what ties
// them to sockets, goroutines and Kubernetes: media/keeper.go in pod.go and podapi.go,
// controllers/fleet in follower.go, controllers/voiceroom/media.go in operator.go, and
// gateway/join.go and place.go in gateway.go. Whoever changes the one changes the other.
//
// Each seed has 75 s of faults and then peace, in which the room has four minutes to get
// over them: about 4,000 events. After each event of a room, and whenever something is
// promised or handed on, the invariants are checked (invariants.go, a sentence each). So that
// it is known that they can fail, TestMutations leaves out one rule after another.
package sim
