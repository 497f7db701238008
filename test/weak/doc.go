// Package weak measures what listeners hear on weak networks, with real parts from end to end: a page in Chromium talks, a
// media pod forwards, a relay (hack/lossy) loses on the way, and pages in Chromium and Firefox listen, whose own statistics
// say what they made up.
//
//	results, err := weak.Run(ctx, []weak.Room{{
//		Talker:    weak.Talker{FEC: true},
//		Listeners: []weak.Listener{{NACK: true, Network: lossy.Network{Loss: 0.2}}, {Network: lossy.Network{Loss: 0.2}}},
//	}}, weak.Options{Duration: 20 * time.Second})
//	results[0][0].Concealed() // share of what the first listener played
//
// Each room has a pod and a talker of its own, and each client a relay of its own: the pod advertises it while that client's
// offer is answered. All rooms of a run speak and listen at once, to the same recording.
//
// Networks are perfect until everybody is connected. Then [Options.Warmup] passes, in which jitter buffers, encoders and the pod get
// used to them, before anything is measured.
package weak
