package transport

import (
	"fmt"
	"net/netip"
)

// Advertise changes what clients are told from the next answer on. A pod learns its outer addresses
// with its room, long after it listens.
func (s *Server) Advertise(addrs []netip.AddrPort) error {
	if err := checkAdvertise(addrs); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.candidates = candidateLines(addrs)
	return nil
}

func checkAdvertise(addrs []netip.AddrPort) error {
	for _, a := range addrs {
		if !a.IsValid() || a.Addr().IsUnspecified() || a.Port() == 0 {
			return fmt.Errorf("%s cannot be advertised", a)
		}
	}
	return nil
}
