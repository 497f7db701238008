// Package transport is one client's WebRTC connection to a media pod, without PeerConnection.
//
// A room needs one shape of session only: at most one uplink of Opus, up to [MaxSlots] receiving
// m-lines (the virtual-microphone slots), one data channel, everything bundled on one 5-tuple. So
// the answer to an offer is written, not negotiated, and each part is the smallest that does it:
//
//   - [ParseOffer] turns SDP into an [Offer] or an [OfferError]; [Server.Accept] answers it.
//   - An ICE-lite responder (RFC 8445, section 2.5) answers authenticated Binding requests. It sends
//     no checks and ignores the client's candidates, so nobody can aim it at another address.
//     USE-CANDIDATE moves the address that is sent to, which is also how a client roams.
//   - DTLS 1.2, always as the passive side (RFC 8842), and only from an address that passed a check.
//     The client's certificate must match the fingerprint of its offer.
//   - SRTP and SRTCP (RFC 5764): AES-128-GCM first, then AES128-CM-HMAC-SHA1-80. This package
//     unprotects what arrives and protects RTCP; RTP to the client is sealed by media/egress with the
//     keys of [Conn.SendKeys] and leaves with a [Batch], for many clients at once.
//   - SCTP and the data channel "room" (RFC 8831, RFC 8832).
//
// All clients share one port number, with a UDP socket for each core and one TCP listener (RFC 6544
// passive candidates, framed by RFC 4571). One goroutine reads each UDP socket and tells protocols
// apart by their first byte (RFC 7983); it never blocks. The kernel spreads the clients among the sockets.
//
// # Goroutines
//
// A [Conn] has one goroutine of its own from its first authenticated check on, besides those of
// DTLS and SCTP. It runs [Handler.Connected], [Handler.Data] and finally [Handler.Closed].
// [Handler.RTP] and [Handler.NACK] run on the goroutine that read the datagram. One ticker of the
// Server does every time-out and every RTCP report. [Server.Close] waits for all of them.
package transport
