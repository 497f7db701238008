package e2e

import (
	"testing"
	"time"
)

// TestCluster is one installation's life. Each scenario leaves no room behind; one that
// fails does not keep the others from running, but for the first.
func TestCluster(t *testing.T) {
	dumpIfFailed(t)
	before := inventory(t)
	if !t.Run("Install", install) {
		return
	}
	for _, scenario := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"Samples", samples},
		{"Kick", kick},
		{"PodSecurity", podSecurity},
		{"NetworkPolicies", networkPolicies},
		{"MediaKilled", mediaKilled},
		{"PodDeleted", podDeleted},
		{"Evictions", evictions},
		{"Drain", drain},
		{"DrainCloses", drainCloses},
		{"Scale", scale},
		{"PoolInUse", poolInUse},
		{"PortsExhausted", portsExhausted},
		{"NoSuchImage", noSuchImage},
		{"QuotaExceeded", quotaExceeded},
		{"LeaderKilled", leaderKilled},
		{"Upgrade", upgrade},
		{"BrokenValues", brokenValues},
	} {
		began := time.Now()
		t.Run(scenario.name, scenario.run)
		t.Logf("%s took %.1f s", scenario.name, time.Since(began).Seconds())
	}
	t.Run("Uninstall", func(t *testing.T) { uninstall(t, before) })
}
