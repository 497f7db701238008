//go:build linux

package node

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"sigs.k8s.io/yaml"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestNodesHaveAddressesOfTheirOwn(t *testing.T) {
	seen := map[netip.Addr]bool{hostAddress(): true}
	ranges := map[netip.Prefix]bool{}
	for i := 1; i <= maxNodes; i++ {
		if a := nodeAddress(i); seen[a] || !network.Contains(a) {
			t.Errorf("node %d has %s", i, a)
		} else {
			seen[a] = true
		}
		if r := podRange(i); ranges[r] || !pods.Contains(r.Addr()) {
			t.Errorf("the pods of node %d have %s", i, r)
		} else {
			ranges[r] = true
		}
	}
	if !services.Contains(dns) {
		t.Errorf("the address %s of DNS is none of a Service", dns)
	}
}

func TestObjectsAgreeWithWhatNodesAreTold(t *testing.T) {
	for _, want := range []string{"clusterIP: " + dns.String(), "image: " + dnsImage, "name: " + storageClass + "\n"} {
		if !strings.Contains(string(objects), want) {
			t.Errorf("objects.yaml has no %q", want)
		}
	}
}

func TestConfigurationsAreFilledIn(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "cni"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := writeConfigs(dir, configuration{Name: "node-1", Etc: dir, Socket: socket, DNS: dns.String(), Pods: podRange(1).String()}); err != nil {
		t.Fatal(err)
	}
	var kubelet struct {
		ClusterDNS               []string
		ContainerRuntimeEndpoint string
	}
	if err := yaml.Unmarshal(read(t, filepath.Join(dir, "kubelet.yaml")), &kubelet); err != nil {
		t.Fatal(err)
	}
	if len(kubelet.ClusterDNS) != 1 || kubelet.ClusterDNS[0] != dns.String() || kubelet.ContainerRuntimeEndpoint != "unix://"+socket {
		t.Errorf("kubelet is told %+v", kubelet)
	}
	var list struct {
		Plugins []struct {
			Type string
			IPAM struct {
				Ranges [][]struct{ Subnet netip.Prefix }
			}
		}
	}
	if err := json.Unmarshal(read(t, filepath.Join(dir, "cni", "pods.conflist")), &list); err != nil {
		t.Fatal(err)
	}
	if got := list.Plugins[0].IPAM.Ranges[0][0].Subnet; got != podRange(1) {
		t.Errorf("pods get addresses of %s", got)
	}
}

func TestStartRefusesWhatCannotWork(t *testing.T) {
	for dir, visibly := range map[string]bool{"/tmp/x": true, "/variety": true, "/var": false, "/var/tmp/x": false, "/run/user/0": false} {
		if err := visible(dir); (err == nil) != visibly {
			t.Errorf("%s: %v", dir, err)
		}
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}
