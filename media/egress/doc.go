// Package egress builds, seals and sends the packets of a room to its listeners. No other code does.
//
// A [Listener] is one client that hears the room: it turns packets of many talkers into one
// unbroken RTP stream per slot (virtual microphone) of that client. For each packet it rewrites
// payload type, SSRC, sequence number, timestamp and the level extension, and names the talker in the
// CSRC (RFC 3550, section 7.1); the Opus payload is left as it is. Then it seals the packet with the
// client's SRTP keys and sends it at once.
//
// # Concurrency
//
// A Listener is written by one context: the room's forwarding context. Whoever forwards the packets of
// a room calls the listeners of that room from one goroutine, or under one mutex, and nothing here
// takes another lock. Only [Listener.SenderInfo] may be called from anywhere. Nothing blocks, and in
// steady state nothing allocates.
//
// This package imports media/transport, never the other way round.
package egress
