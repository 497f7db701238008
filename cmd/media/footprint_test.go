package main

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// maxResident is what a pod without people may have in memory, binary included, in KiB.
const maxResident = 15 << 10

var (
	imageFlags = regexp.MustCompile(`go build (-trimpath) -ldflags "(-s -w) `)
	resident   = regexp.MustCompile(`VmRSS:\s+(\d+) kB`)
)

// buildAsImage builds the command as the Dockerfile does.
func buildAsImage(t *testing.T) (binary string) {
	t.Helper()
	recipe, err := os.ReadFile("../../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	flags := imageFlags.FindStringSubmatch(string(recipe))
	if flags == nil {
		t.Fatalf("the Dockerfile builds with other flags than %s", imageFlags)
	}
	binary = filepath.Join(t.TempDir(), "media")
	build := exec.Command("go", "build", flags[1], "-ldflags", flags[2], "-o", binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the command: %v\n%s", err, out)
	}
	return binary
}

// A pod that waits for a room, with keys and certificate, probed and scraped, is small: pools keep many of
// them warm. Most of it is the binary's pages, so that a dependency shows here.
func TestIdlePodIsSmall(t *testing.T) {
	t.Parallel()
	binary := buildAsImage(t)
	c := newCredentials(t)
	p := startBinary(t, binary, c.flags()...)
	time.Sleep(10 * time.Second) // nothing is waited for: it is what it keeps that counts
	if status, body := p.get(t, "/readyz"); status != http.StatusOK {
		t.Fatalf("not ready: %d %s", status, body)
	}
	for range 2 {
		if status, body := p.get(t, "/metrics"); status != http.StatusOK || !strings.Contains(body, "voiceroom_media_sessions 0") {
			t.Fatalf("no metrics: %d %.100s", status, body)
		}
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Skipf("this system does not tell what a process has in memory: %v", err)
	}
	found := resident.FindSubmatch(status)
	if found == nil {
		t.Fatalf("no VmRSS in:\n%s", status)
	}
	var kib int
	if _, err := fmt.Sscan(string(found[1]), &kib); err != nil {
		t.Fatal(err)
	}
	t.Logf("%.1f MiB", float64(kib)/1024)
	if kib > maxResident {
		t.Errorf("an idle pod has %d KiB in memory, more than %d", kib, maxResident)
	}
}
