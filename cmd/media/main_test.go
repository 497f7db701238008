package main

import (
	"bufio"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"voiceroom.dev/voiceroom/api/v1alpha1"
	"voiceroom.dev/voiceroom/media/transport/transporttest"
)

// asCommand makes the test's binary be the command, so that a test can run and
// stop a real process of it.
const asCommand = "VOICEROOM_TEST_AS_MEDIA"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
		return
	}
	goleak.VerifyTestMain(m)
}

// freePort is a port that is free now, of TCP and of UDP.
func freePort(t *testing.T) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", "0.0.0.0:0")
		if err != nil {
			t.Fatal(err)
		}
		u, err := net.ListenPacket("udp", l.Addr().String())
		_ = l.Close()
		if err != nil {
			continue // somebody has it for UDP
		}
		_ = u.Close()
		_, port, err := net.SplitHostPort(l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		return port
	}
	t.Fatal("no port is free")
	return ""
}

// process is a real process of the command.
type process struct {
	cmd             *exec.Cmd
	log             io.Reader
	control, health string // addresses
}

// start runs the command, and returns once it serves.
func start(t *testing.T, flags ...string) *process {
	t.Helper()
	return startBinary(t, os.Args[0], flags...)
}

// startBinary is start with another binary than the test's.
func startBinary(t *testing.T, binary string, flags ...string) *process {
	t.Helper()
	cmd := exec.Command(binary, append([]string{"--pod-uid=uid", "--control=127.0.0.1:0", "--health=127.0.0.1:0", "--media=:" + freePort(t)}, flags...)...)
	cmd.Env = append(os.Environ(), asCommand+"=1")
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() }) // it has exited unless the test failed
	var up struct{ Control, Health string }
	lines := bufio.NewScanner(log)
	for up.Health == "" && lines.Scan() {
		if err := json.Unmarshal(lines.Bytes(), &up); err != nil {
			t.Fatalf("not a JSON log line: %s", lines.Text())
		}
	}
	if up.Health == "" {
		t.Fatalf("the process ended: %v", cmd.Wait())
	}
	return &process{cmd: cmd, log: log, control: up.Control, health: up.Health}
}

// get asks for a path of the health address.
func (p *process) get(t *testing.T, path string) (status int, body string) {
	t.Helper()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + p.health + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func (p *process) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// awaitUnready waits until the process says that it is to go.
func (p *process) awaitUnready(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(transporttest.Patience); ; time.Sleep(10 * time.Millisecond) {
		status, body := p.get(t, "/readyz")
		if status == http.StatusServiceUnavailable && strings.Contains(body, "stopping") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("still ready: %d %s", status, body)
		}
	}
}

// wait returns how the process exited.
func (p *process) wait() error {
	_, _ = io.Copy(io.Discard, p.log)
	return p.cmd.Wait()
}

// The process tells when it serves, answers probes, and exits 0 on SIGTERM.
func TestServesAndStops(t *testing.T) {
	p := start(t, "--keys="+t.TempDir(), "--tls="+t.TempDir())
	for path, want := range map[string]int{"/healthz": http.StatusOK, "/metrics": http.StatusOK, "/readyz": http.StatusServiceUnavailable} {
		if status, body := p.get(t, path); status != want {
			t.Errorf("%s: %d, want %d: %.100s", path, status, want, body)
		}
	}
	p.signal(t, syscall.SIGTERM)
	if err := p.wait(); err != nil {
		t.Errorf("after SIGTERM: %v", err)
	}
}

// A pool's pods are told of another tick than the default alone.
func TestAudienceTickUnlessTold(t *testing.T) {
	flag := newCommand().Flags().Lookup("audience-tick")
	if flag == nil || flag.DefValue != v1alpha1.DefaultAudienceTick.String() {
		t.Errorf("%+v, want a default of %v", flag, v1alpha1.DefaultAudienceTick)
	}
}

func TestConfig(t *testing.T) {
	good := settings{podUID: "uid", control: "10.0.0.7:9443", health: "10.0.0.7:9090", media: ":40000", tick: 20 * time.Millisecond}
	tests := []struct {
		name      string
		change    func(*settings)
		media     string
		advertise string
		err       string
	}{
		{"IPv4 pod", func(*settings) {}, "0.0.0.0:40000", "10.0.0.7:40000", ""},
		{"IPv6 pod, as Kubernetes writes its address", func(s *settings) { s.control, s.health = "fd00::7:9443", "fd00::7:9090" }, "[::]:40000", "[fd00::7]:40000", ""},
		{"IPv6 in brackets", func(s *settings) { s.control = "[fd00::7]:9443" }, "[::]:40000", "[fd00::7]:40000", ""},
		{"one address", func(s *settings) { s.media = "127.0.0.1:0" }, "127.0.0.1:0", "", ""},
		{"no UID", func(s *settings) { s.podUID = "" }, "", "", "--pod-uid"},
		{"no port", func(s *settings) { s.media = ":0" }, "", "", "--media"},
		{"a name", func(s *settings) { s.control = "localhost:9443" }, "", "", "--control"},
		{"no address", func(s *settings) { s.health = ":9090" }, "", "", "--health"},
		{"the audience at once", func(s *settings) { s.tick = 0 }, "0.0.0.0:40000", "", ""},
		{"the audience as late as can be", func(s *settings) { s.tick = 60 * time.Millisecond }, "0.0.0.0:40000", "", ""},
		{"a tick too long", func(s *settings) { s.tick = 61 * time.Millisecond }, "", "", "--audience-tick=61ms"},
		{"a tick back in time", func(s *settings) { s.tick = -time.Millisecond }, "", "", "--audience-tick=-1ms"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := good
			test.change(&s)
			cfg, err := s.config(nil)
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("got %v, want an error about %s", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var advertise netip.AddrPort
			if len(cfg.Advertise) > 0 {
				advertise = cfg.Advertise[0]
			}
			if cfg.AudienceTick != s.tick {
				t.Errorf("the audience is served every %v, not every %v", cfg.AudienceTick, s.tick)
			}
			if cfg.Media.String() != test.media || test.advertise != "" && advertise.String() != test.advertise {
				t.Errorf("media %s, advertised as %s", cfg.Media, advertise)
			}
		})
	}
}
