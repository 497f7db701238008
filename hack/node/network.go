//go:build linux

package node

import (
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strconv"
)

const (
	maxNodes = 9

	// bridge is the interface of this machine on the nodes' network.
	bridge = "vroom0"
	// uplink is the interface of a node on that network.
	uplink = "eth0"
)

var (
	network  = netip.MustParsePrefix("10.219.0.0/24") // this machine has .1, node i .10+i
	pods     = netip.MustParsePrefix("10.244.0.0/16") // node i has 10.244.i.0/24
	services = netip.MustParsePrefix("10.96.0.0/16")
	dns      = netip.MustParseAddr("10.96.0.10")
)

func hostAddress() netip.Addr { return network.Addr().Next() }

func nodeName(i int) string { return "node-" + strconv.Itoa(i) }

func nodeAddress(i int) netip.Addr {
	a := network.Addr().As4()
	a[3] = byte(10 + i)
	return netip.AddrFrom4(a)
}

// podRange is where the addresses of the pods of node i are taken from.
func podRange(i int) netip.Prefix {
	a := pods.Addr().As4()
	a[2] = byte(i)
	return netip.PrefixFrom(netip.AddrFrom4(a), 24)
}

// openNetwork makes this machine's end of the network of n nodes, and routes to their pods.
func openNetwork(n int) error {
	commands := [][]string{
		{"link", "add", bridge, "type", "bridge"},
		{"address", "add", within(hostAddress()), "dev", bridge},
		{"link", "set", bridge, "up"},
	}
	for i := range n {
		commands = append(commands, routeTo(i+1))
	}
	return ip(commands...)
}

// closeNetwork removes what openNetwork and connect made, if it is there. A node's interface need not go with the node's
// processes: the kernel keeps a network while a connection in it waits for an answer.
func closeNetwork() error {
	links, err := filepath.Glob("/sys/class/net/" + bridge + "*")
	if err != nil {
		return fmt.Errorf("find the nodes' network: %w", err)
	}
	for _, link := range links {
		if err := ip([]string{"link", "delete", filepath.Base(link)}); err != nil {
			return err
		}
	}
	return nil
}

// connect gives the machine whose first process is pid its interface.
func connect(i, pid int) error {
	port := bridge + "-" + strconv.Itoa(i)
	return ip(
		[]string{"link", "add", port, "type", "veth", "peer", "name", uplink, "netns", strconv.Itoa(pid)},
		[]string{"link", "set", port, "master", bridge, "up"},
	)
}

// nodeNetwork returns what the machine of node i of n has to tell ip(8).
func nodeNetwork(i, n int) [][]string {
	commands := [][]string{
		{"link", "set", "lo", "up"},
		{"address", "add", within(nodeAddress(i)), "dev", uplink},
		{"link", "set", uplink, "up"},
		{"route", "add", "default", "via", hostAddress().String()},
	}
	for other := 1; other <= n; other++ {
		if other != i {
			commands = append(commands, routeTo(other))
		}
	}
	return commands
}

// routeTo is the route to the pods of node i.
func routeTo(i int) []string {
	return []string{"route", "add", podRange(i).String(), "via", nodeAddress(i).String()}
}

// within is an address with the length of the network's prefix.
func within(a netip.Addr) string { return netip.PrefixFrom(a, network.Bits()).String() }

func ip(commands ...[]string) error {
	for _, args := range commands {
		if said, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("set up the nodes' network: ip %q: %w: %s", args, err, said)
		}
	}
	return nil
}
