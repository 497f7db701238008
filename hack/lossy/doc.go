// Package lossy is a bad network in a process: a [Relay] forwards UDP between clients and one server, and loses, delays
// and reorders datagrams on the way as a [Network] says, each direction for itself. It is for tests on machines that
// cannot make a network bad by themselves (no netem).
//
//	r, err := lossy.Listen(lossy.Config{Listen: addr, To: pod, Down: lossy.Network{Loss: 0.1, Delay: 20 * time.Millisecond}, Seed: 1})
//	defer r.Close()
//	// the pod advertises r.Addr() to its clients
//
// Clients are told apart by their source address, and each has a socket of its own towards the server, which so takes them
// for as many clients. What becomes of a client's n-th datagram in one direction follows from the seed, from which
// client it is (the first, the second ...) and from n alone, so that a run can be repeated.
//
// hack/lossy/cmd is a relay by itself.
package lossy
