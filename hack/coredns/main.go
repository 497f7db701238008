// Command coredns is CoreDNS with the plugins that the DNS of a test cluster needs: with all of them it takes three times
// as long to build.
package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/health"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/ready"
	_ "github.com/coredns/coredns/plugin/reload"
)

func main() {
	// The order is that of upstream's plugin.cfg.
	dnsserver.Directives = []string{"reload", "health", "ready", "errors", "kubernetes"}
	coremain.Run()
}
