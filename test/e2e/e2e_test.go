package e2e

import (
	"testing"
	"time"
)

// TestCluster is one installation's life. Each scenario leaves no room behind; one that
// fails does not keep the others from running, but for the first.
func TestCluster(t *testing.T) {
	before := inventory(t)
	if !play(t, "Install", install) {
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
		play(t, scenario.name, scenario.run)
	}
	play(t, "Uninstall", func(t *testing.T) { uninstall(t, before) })
}

// play runs a scenario. If it fails, what there is to find out why is kept before anything
// is cleared up.
func play(t *testing.T, name string, run func(*testing.T)) bool {
	t.Logf("%s  %s", time.Now().Format(time.TimeOnly), name)
	return t.Run(name, func(t *testing.T) {
		defer dumpIfFailed(t)
		run(t)
	})
}
