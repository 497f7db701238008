package child_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"voiceroom.dev/voiceroom/hack/controlplane/child"
)

const roleVariable = "CHILD_TEST_ROLE"

func TestMain(m *testing.M) {
	if os.Getenv(roleVariable) == "parent" {
		parent()
		return
	}
	goleak.VerifyTestMain(m)
}

// parent starts a child, says which, and waits to be killed.
func parent() {
	p, err := child.Start(exec.Command("sleep", "600"))
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	out, err := exec.Command("pgrep", "-P", strconv.Itoa(os.Getpid()), "-x", "sleep").Output()
	fmt.Println(strings.TrimSpace(string(out)), err)
	<-p.Done()
}

func shell(script string) *exec.Cmd { return exec.Command("/bin/sh", "-c", script) }

func TestStateTellsTheExitCode(t *testing.T) {
	p, err := child.Start(shell("exit 7"))
	if err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	if got := p.State().ExitCode(); got != 7 {
		t.Errorf("exit code %d, want 7", got)
	}
}

func TestStartReportsAMissingBinary(t *testing.T) {
	if _, err := child.Start(exec.Command("/does/not/exist")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want a not-exist error", err)
	}
}

func TestStopTerminatesThenKills(t *testing.T) {
	for name, test := range map[string]struct {
		script string
		grace  time.Duration
		want   syscall.Signal
	}{
		"heeds SIGTERM":   {"echo up; exec sleep 600", time.Hour, syscall.SIGTERM},
		"ignores SIGTERM": {"trap '' TERM; echo up; while :; do sleep 1; done", time.Millisecond, syscall.SIGKILL},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := shell(test.script)
			up := newSignalWriter()
			cmd.Stdout = up
			p, err := child.Start(cmd)
			if err != nil {
				t.Fatal(err)
			}
			<-up.seen
			p.Stop(test.grace)
			status := p.State().Sys().(syscall.WaitStatus)
			if !status.Signaled() || status.Signal() != test.want {
				t.Errorf("ended with %v, want signal %v", p.State(), test.want)
			}
		})
	}
}

func TestDescendantsEndWithTheProcess(t *testing.T) {
	cmd := shell("sleep 600 >/dev/null & echo $!")
	var out bytes.Buffer
	cmd.Stdout = &out
	p, err := child.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	pid, err := strconv.Atoi(strings.TrimSpace(out.String()))
	if err != nil {
		t.Fatal(err)
	}
	waitGone(t, pid)
}

func TestChildEndsWhenItsParentIsKilled(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roleVariable+"=parent")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.Fields(line)[0])
	if err != nil {
		t.Fatalf("the parent said %q: %v", line, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	waitGone(t, pid)
}

// waitGone waits until pid is no running process; a zombie that nobody reaps counts as gone.
func waitGone(t *testing.T, pid int) {
	t.Helper()
	for range 1000 {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("process %d is still there", pid)
}

// signalWriter closes seen at the first write.
type signalWriter struct{ seen chan struct{} }

func newSignalWriter() *signalWriter { return &signalWriter{seen: make(chan struct{})} }

func (w *signalWriter) Write(p []byte) (int, error) {
	select {
	case <-w.seen:
	default:
		close(w.seen)
	}
	return len(p), nil
}
