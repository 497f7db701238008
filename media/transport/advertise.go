package transport

import (
	"errors"
	"fmt"
	"net/netip"
)

// Advertise changes what clients are told from the next answer on. A pod learns its outer addresses
// with its room, long after it listens.
func (s *Server) Advertise(addrs []netip.AddrPort) error {
	if err := checkAdvertise(addrs); err != nil {
		return fmt.Errorf("advertise media addresses: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.candidates = candidateLines(addrs)
	return nil
}

func checkAdvertise(addrs []netip.AddrPort) error {
	if len(addrs) == 0 {
		return errors.New("no address to advertise")
	}
	for _, a := range addrs {
		if !a.IsValid() || a.Addr().IsUnspecified() || a.Port() == 0 {
			return fmt.Errorf("%s cannot be advertised", a)
		}
	}
	return nil
}
