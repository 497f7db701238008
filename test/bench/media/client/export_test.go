//go:build linux

package client

import "net/netip"

// Stamped is stamped.
var Stamped = stamped

// WriteTo sends a datagram to anybody.
func (c *Client) WriteTo(b []byte, to netip.AddrPort) error {
	_, err := c.socket.WriteToUDPAddrPort(b, to)
	return err
}
