// Package sim is one room with everything around it in one goroutine: clients, gateways,
// operators, media pods, the API server, the chat server and the network between them, which
// delays, repeats, reorders and loses messages, while pods and processes crash, stop for a
// while, or are cut off from each other. A seed decides all of it: the same seed does the very
// same again, to the last message.
//
//	go test ./test/sim -seeds=100000          # more of them
//	go test ./test/sim -run Seeds -seed=4711 -seeds=1 -lines=5000   # one, with its whole story
//
// Real is what decides: package room in every pod and replica, package admission in every gateway and
// operator, package token's tokens and their verification. They run unchanged as coroutines
// (see process): a call over the network parks the caller until the answer, a timeout or a
// crash comes.
//
// A shell, written again here as thinly as could be, is what ties them to sockets, goroutines
// and Kubernetes: media's keeper.go, follow.go, signal.go and command.go in pod.go and
// podapi.go, controllers/fleet's follower.go, lease.go and errands.go in follower.go and
// operator.go, controllers/voiceroom's media.go, status.go, memory.go and sweep.go in
// operator.go and cluster.go, gateway's join.go, place.go and rtc.go in gateway.go. Whoever
// changes the one changes the other: the simulator does not notice where they differ.
//
// Not modelled are media and ICE beyond a connection that stands or does not; guests, links
// made for anybody, and keys that are revoked or rotated; a room that sleeps, closes or is
// deleted; more than one room, and pods of a room beyond what a pool has ready; pods that run
// on after 17 minutes without an operator; clocks that are more than 100 ms wrong; chat that
// fails otherwise than by not answering or being full.
//
// Each seed has a minute of faults and then peace, in which the room has four minutes to get
// over them: about 4,000 events. Worlds differ in their faults, in how restless people are,
// and some have nothing but crowds and pods that are cut off. After each event of a room, and
// whenever something is promised or handed on, the invariants are checked (invariants.go, a
// sentence each). So that it is known that they can fail, TestMutations leaves out one rule
// after another.
package sim
