// Package egress builds and seals the packets of a room for its listeners. No other code does.
//
// A [Log] keeps the last packets of one stream of sound, once for all who hear it. A [Listener] is one
// client that hears the room: each of its slots (virtual microphones) plays a log, or nothing, as one
// unbroken RTP stream. For each packet it rewrites payload type, SSRC, sequence number, timestamp and the
// level extension, and names who is heard in the CSRCs (RFC 3550, section 7.1); the Opus payload is
// left as it is, or gets the frames before it added (RFC 2198) where the client loses packets. Then it
// seals the packet with the client's SRTP keys.
//
// A listener is served: all that is due on its slots leaves as one run of packets that are made
// equally long by padding, which the kernel sends for little more than the price of one. An [Outbox] holds the
// runs of many listeners, and sends them with one call. How long packets wait to be served is
// the caller's to say: the longer, the longer the runs.
//
// # Concurrency
//
// All of it is used by one context: the room's forwarding context. Whoever forwards the packets of
// a room does so under one lock, which is taken for many packets at a time, and nothing here
// takes another. Listeners may be served in parallel, each with the Outbox of who serves it, while no log
// is written and nothing is changed. Only [Listener.SenderInfo] may be called from anywhere. Nothing
// blocks, and in steady state nothing allocates; nothing reads a clock.
//
// This package imports media/transport, never the other way round.
package egress
