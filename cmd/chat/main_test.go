package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"voiceroom.dev/voiceroom/chat"
	"voiceroom.dev/voiceroom/chat/nats"
)

// asCommand makes the test's binary be the command, so that a test can run and
// kill a real process of it.
const asCommand = "VOICEROOM_TEST_AS_CHAT"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
		return
	}
	goleak.VerifyTestMain(m)
}

// process is a running command.
type process struct {
	cmd    *exec.Cmd
	url    string // where clients connect
	health string // host:port of the probes
	exited chan error
}

// start runs the command until it is ready. It is killed when t ends at the latest.
func start(t *testing.T, args ...string) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), asCommand+"=1")
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: cmd, exited: make(chan error, 1)}
	var tail strings.Builder
	lines := bufio.NewScanner(log)
	for p.url == "" && lines.Scan() {
		fmt.Fprintln(&tail, lines.Text())
		var entry struct{ Msg, URL, Health string }
		if json.Unmarshal(lines.Bytes(), &entry) == nil && entry.Msg == "ready" {
			p.url, p.health = entry.URL, entry.Health
		}
	}
	go func() {
		_, _ = io.Copy(io.Discard, log) // until it exits
		p.exited <- cmd.Wait()
	}()
	t.Cleanup(func() { p.end(syscall.SIGKILL) })
	if p.url == "" {
		t.Fatalf("chat did not become ready: %v\n%s", <-p.exited, tail.String())
	}
	return p
}

// end sends a signal, and returns how the process exited.
func (p *process) end(signal syscall.Signal) error {
	_ = p.cmd.Process.Signal(signal) // it may have exited
	err := <-p.exited
	p.exited <- err
	return err
}

func (p *process) probe(t *testing.T, path string) (status int, body string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get("http://" + p.health + path)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(data)
}

func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func open(t *testing.T, cfg nats.Config) *nats.Provider {
	t.Helper()
	p, err := nats.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() }) // it always returns nil
	return p
}

func TestServesWithTokenAndStops(t *testing.T) {
	p := start(t, "--listen", "127.0.0.1:0", "--health-listen", "127.0.0.1:0",
		"--store-dir", t.TempDir(), "--max-store", "64Mi", "--token-file", write(t, "token", "s3cret\n"))
	for _, path := range []string{"/livez", "/readyz"} {
		if status, body := p.probe(t, path); status != http.StatusOK {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	if status, _ := p.probe(t, "/connz"); status != http.StatusNotFound {
		t.Errorf("the probes' port shows more than probes: /connz is %d", status)
	}
	if err := open(t, nats.Config{URL: p.url, Token: "s3cret"}).Check(t.Context()); err != nil {
		t.Errorf("right token: %v", err)
	}
	if err := open(t, nats.Config{URL: p.url}).Check(t.Context()); !errors.Is(err, chat.ErrDenied) {
		t.Errorf("no token: got %v, want ErrDenied", err)
	}
	if err := p.end(syscall.SIGTERM); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
}

func TestRefusesBadFlags(t *testing.T) {
	store := t.TempDir()
	for _, test := range []struct {
		name string
		args []string
		want string // part of the error
	}{
		{"no store", []string{"--listen", "127.0.0.1:0"}, "store-dir"},
		{"open to others", []string{"--store-dir", store, "--listen", ":0"}, "--token-file"},
		{"user without password", []string{"--store-dir", store, "--user", "ada"}, "password-file"},
		{"token and user", []string{"--store-dir", store, "--user", "ada", "--password-file", "x", "--token-file", "x"}, "token-file"},
		{"no such token file", []string{"--store-dir", store, "--token-file", filepath.Join(store, "none")}, "--token-file"},
		{"empty token", []string{"--store-dir", store, "--token-file", write(t, "token", "\n")}, "is empty"},
		{"size", []string{"--store-dir", store, "--listen", "127.0.0.1:0", "--max-store", "lots"}, "--max-store"},
		{"certificate without key", []string{"--store-dir", store, "--tls-cert", "x"}, "tls-key"},
		{"address", []string{"--store-dir", store, "--listen", "127.0.0.1:http", "--health-listen", ""}, "port"},
		{"argument", []string{"--store-dir", store, "extra"}, "extra"},
	} {
		cmd := newCommand()
		cmd.SetArgs(test.args)
		cmd.SetOut(io.Discard)
		cmd.SetErr(io.Discard)
		if err := cmd.ExecuteContext(t.Context()); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want an error that mentions %s", test.name, err, test.want)
		}
	}
}

// witness is one member as one writer knows it.
type witness struct {
	subject string
	present bool // as acknowledged
	unsure  bool // the last change was not acknowledged: it may have happened or not
}

// toggle adds or removes each member in turn, until a call fails. That leaves
// one member of which it is not sure.
func toggle(ctx context.Context, p chat.Provider, group string, members []witness, acked func()) {
	for i := 0; ; i = (i + 1) % len(members) {
		m := &members[i]
		var err error
		if m.present {
			err = p.RemoveMember(ctx, group, m.subject)
		} else {
			err = p.AddMember(ctx, group, chat.Member{Subject: m.subject})
		}
		if err != nil {
			m.unsure = true
			return
		}
		m.present = !m.present
		acked()
	}
}

// Every membership change that was acknowledged is there after SIGKILL in the
// middle of writes.
func TestKilledWhileWriting(t *testing.T) {
	const writers, each, kills, changes = 8, 10, 4, 300
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	args := []string{"--listen", "127.0.0.1:0", "--health-listen", "", "--store-dir", t.TempDir()}
	p := start(t, args...)
	args[1] = strings.TrimPrefix(p.url, "nats://") // the same again
	provider := open(t, nats.Config{URL: p.url, ReconnectWait: 20 * time.Millisecond})
	members := make([]witness, writers*each)
	for i := range members {
		members[i].subject = fmt.Sprintf("guest:%d", i)
	}
	group, err := provider.CreateGroup(ctx, "room", chat.GroupSpec{Limits: chat.Limits{MaxMembers: len(members), MaxMics: 1}})
	if err != nil {
		t.Fatal(err)
	}
	for kill := range kills {
		var acked atomic.Int64
		enough := make(chan struct{})
		var wg sync.WaitGroup
		for own := range slices.Chunk(members, each) {
			wg.Go(func() {
				toggle(ctx, provider, group.ID, own, func() {
					if acked.Add(1) == changes {
						close(enough)
					}
				})
			})
		}
		select {
		case <-enough:
		case <-ctx.Done():
			t.Fatalf("only %d changes were acknowledged", acked.Load())
		}
		if err := p.end(syscall.SIGKILL); err == nil {
			t.Fatal("chat exited by itself")
		}
		wg.Wait()
		p = start(t, args...)
		reconnected(ctx, t, provider)
		compare(ctx, t, provider, group.ID, members)
		t.Logf("kill %d: after %d acknowledged changes", kill, acked.Load())
	}
}

func reconnected(ctx context.Context, t *testing.T, p chat.Provider) {
	t.Helper()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for {
		err := p.Check(ctx)
		if err == nil {
			return
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			t.Fatalf("not reconnected: %v", err)
		}
	}
}

// compare checks the members against what was acknowledged, and settles those
// of which the writers are not sure.
func compare(ctx context.Context, t *testing.T, p chat.Provider, group string, members []witness) {
	t.Helper()
	list, err := p.Members(ctx, group)
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	for _, m := range list {
		there[m.Subject] = true
	}
	if g, err := p.Group(ctx, group); err != nil || g.Members != len(list) {
		t.Errorf("the group counts %d members (%v), the list has %d", g.Members, err, len(list))
	}
	sure, wrong := 0, 0
	for i := range members {
		m := &members[i]
		if !m.unsure {
			sure++
			if there[m.subject] != m.present {
				wrong++
			}
		}
		m.present, m.unsure = there[m.subject], false
	}
	if wrong > 0 {
		t.Errorf("%d of %d members are not as acknowledged", wrong, sure)
	}
	if sure < len(members)/2 {
		t.Errorf("only %d members say anything", sure)
	}
}
