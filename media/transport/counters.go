package transport

import "sync/atomic"

// Counters count what a Server sends, drops or refuses. They only grow.
type Counters struct {
	Accepted            atomic.Uint64 // offers answered
	Connected           atomic.Uint64 // handshakes finished
	TimedOut            atomic.Uint64 // connections that ended with ErrTimeout
	Lost                atomic.Uint64 // connections that ended with ErrLost
	DroppedUnverified   atomic.Uint64 // datagrams from an address that passed no STUN check
	DroppedMalformed    atomic.Uint64 // datagrams that are no packet of any protocol here
	DroppedUnexpected   atomic.Uint64 // RTP that no negotiated source may send
	DroppedEarly        atomic.Uint64 // SRTP before the handshake was finished
	DroppedDTLS         atomic.Uint64 // DTLS records beyond what is queued for a connection
	STUNAuthFailed      atomic.Uint64 // Binding requests with a wrong username or integrity
	FlowsRefused        atomic.Uint64 // authenticated checks from an address another client uses
	SRTPAuthFailed      atomic.Uint64 // SRTP and SRTCP that failed authentication or were replayed
	DTLSFailed          atomic.Uint64 // handshakes that failed
	FingerprintMismatch atomic.Uint64 // of those, by the certificate
	Recovered           atomic.Uint64 // lost packets of uplinks whose sound came as a copy in a later one
	Sent                atomic.Uint64 // RTP packets handed to the kernel by a Batch
	SentRuns            atomic.Uint64 // runs of them that the kernel cut into packets
	SendCalls           atomic.Uint64 // system calls that took
	RunsRefused         atomic.Uint64 // runs that the kernel did not cut; their packets went out one by one
	SendDropped         atomic.Uint64 // packets dropped because a socket's buffer was full
	SendFailed          atomic.Uint64 // packets the network refused
	TCPRefused          atomic.Uint64 // TCP connections over the limit or without a check in time
}

// Each calls f with the name and value of each counter.
func (c *Counters) Each(f func(name string, value uint64)) {
	for _, e := range []struct {
		name  string
		value *atomic.Uint64
	}{
		{"accepted", &c.Accepted},
		{"connected", &c.Connected},
		{"timed_out", &c.TimedOut},
		{"lost", &c.Lost},
		{"dropped_unverified", &c.DroppedUnverified},
		{"dropped_malformed", &c.DroppedMalformed},
		{"dropped_unexpected", &c.DroppedUnexpected},
		{"dropped_early", &c.DroppedEarly},
		{"dropped_dtls", &c.DroppedDTLS},
		{"stun_auth_failed", &c.STUNAuthFailed},
		{"flows_refused", &c.FlowsRefused},
		{"srtp_auth_failed", &c.SRTPAuthFailed},
		{"dtls_failed", &c.DTLSFailed},
		{"fingerprint_mismatch", &c.FingerprintMismatch},
		{"recovered", &c.Recovered},
		{"sent", &c.Sent},
		{"sent_runs", &c.SentRuns},
		{"send_calls", &c.SendCalls},
		{"runs_refused", &c.RunsRefused},
		{"send_dropped", &c.SendDropped},
		{"send_failed", &c.SendFailed},
		{"tcp_refused", &c.TCPRefused},
	} {
		f(e.name, e.value.Load())
	}
}
