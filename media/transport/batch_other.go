//go:build !linux

package transport

import "net/netip"

// Media pods run on Linux. Elsewhere packets are sent one by one, as they are queued.
type (
	offload  struct{}
	messages struct{}
)

func (s *Server) probe()           {}
func (s *Server) segmenting() bool { return false }
func (m *messages) init(*Batch)    {}
func (b *Batch) send()             {}

func (b *Batch) add(to netip.AddrPort, packet []byte, _ int) {
	b.tally.calls++
	b.count(b.socket.write(to, packet))
}
