// Package client is a WebRTC client that costs next to nothing, so that hundreds of them fit on the
// machine of the server that they load, beside it. It listens to slots, talks, keeps a data channel
// open, and does what a browser does meanwhile: consent checks (RFC 7675) and RTCP reports.
//
//   - [New] opens a client's socket, [Client.Offer] makes its offer, [Client.Connect] takes the
//     answer and returns once ICE, DTLS and the data channel stand. The server may be ICE-lite or
//     not, but must take the passive part of DTLS (the offer says setup:active).
//   - It takes whole runs of packets from the socket (UDP_GRO), unless told not to, and counts them by
//     their headers, which are in the clear: [Client.Counts]. Only one packet of [SampleEvery] is
//     decrypted, for the time in it.
//   - [Client.Send] says one frame. A frame that is stamped carries when it was sent in its bytes 1 to
//     8; the kernel notes when a datagram arrives, so that [Client.Latencies] hold nothing of what the
//     receiving process takes to wake up.
//   - [Client.Expect] makes a client without a connection count streams: for senders that only send.
//
// A client has one goroutine that reads, one for what is due now and then, and those of DTLS and SCTP.
// Its methods may be called from any goroutine.
package client
