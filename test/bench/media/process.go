//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is a server that runs. It has said where.
type process struct {
	cmd     *exec.Cmd
	up      addresses
	reading sync.WaitGroup
}

// addresses are what a server says in its log once it is up.
type addresses struct {
	Control string `json:"control"`
	Health  string `json:"health"`
	Pprof   string `json:"pprof"` // if it can be profiled
}

// start runs a command that logs JSON to stderr, and returns once it has said where it serves. It ends
// when this process does.
func start(env []string, name string, args ...string) (*process, error) {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	log, err := cmd.StderrPipe()
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	p := &process{cmd: cmd}
	lines := bufio.NewScanner(log)
	var said []string
	for lines.Scan() {
		said = append(said, lines.Text())
		if json.Unmarshal(lines.Bytes(), &p.up) == nil && p.up.Control != "" {
			p.reading.Go(func() { _, _ = io.Copy(io.Discard, log) })
			return p, nil
		}
	}
	return nil, fmt.Errorf("%s ended: %w: %s", name, cmd.Wait(), strings.Join(said, "\n"))
}

// stop ends it.
func (p *process) stop() {
	_ = p.cmd.Process.Kill()
	p.reading.Wait()
	_ = p.cmd.Wait() // killed
}

// cpu is the time that it has used, user and system, that of threads which have ended included.
func (p *process) cpu() (time.Duration, error) {
	const scheduled = 2 // CPUCLOCK_SCHED: to the nanosecond, see clock_getcpuclockid(3)
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^p.cmd.Process.Pid<<3|scheduled), &t); err != nil {
		return 0, fmt.Errorf("reading a server's CPU time: %w", err)
	}
	return time.Duration(t.Nano()), nil
}

// rss is the memory that it has resident, in bytes.
func (p *process) rss() (int64, error) {
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.cmd.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("reading a server's memory: %w", err)
	}
	pages, err := strconv.ParseInt(string(bytes.Fields(statm)[1]), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("reading a server's memory: %w", err)
	}
	return pages * int64(os.Getpagesize()), nil
}

// metric reads one of its metrics; it has none that are labelled.
func (p *process) metric(ctx context.Context, name string) (float64, error) {
	body, err := call(ctx, http.MethodGet, "http://"+p.up.Health+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(body)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strconv.ParseFloat(strings.TrimSpace(value), 64)
		}
	}
	return 0, fmt.Errorf("a server has no metric %s", name)
}

// call makes an HTTP request that is to succeed.
func call(ctx context.Context, method, url string, body []byte) (_ []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode >= http.StatusMultipleChoices {
		err = fmt.Errorf("%s %s: %s: %s", method, url, resp.Status, answer)
	}
	return answer, err
}

// ownCPU is what this process has used.
func ownCPU() time.Duration {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t) // never fails
	return time.Duration(t.Nano())
}

// machineCPU is what all processes of the machine have used since it started.
func machineCPU() (time.Duration, error) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, fmt.Errorf("reading the machine's CPU time: %w", err)
	}
	const ticks = 100 // a second, on every architecture
	used := 0
	line, _, _ := strings.Cut(string(stat), "\n")
	for i, f := range strings.Fields(line)[1:] {
		if i == 3 || i == 4 || i > 7 { // idle, waiting; guests are counted already
			continue
		}
		n, err := strconv.Atoi(f)
		if err != nil {
			return 0, fmt.Errorf("reading the machine's CPU time: %w", err)
		}
		used += n
	}
	return time.Duration(used) * time.Second / ticks, nil
}
