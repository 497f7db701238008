package stack

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
)

// command is how a process is started, again and again at the same addresses.
type command struct {
	kind           string // of the binary
	args, env      []string
	listen, health string // host:port; the operator listens only for probes
	metrics        string // host:port, of an operator; the others show them where they answer probes
	link           *link  // to the API server, of operators and gateways
}

func (s *Stack) exec(c command) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.Dir, "bin", c.kind), c.args...)
	cmd.Env = append(os.Environ(), c.env...)
	cmd.Stdout, cmd.Stderr = s.opts.Log, s.opts.Log
	return cmd
}

// define lays down how a process of a kind is started: "chat", "operator", "gateway" or
// "fakefleet". Operator and gateway run with the credentials of their service accounts.
func (s *Stack) define(name, kind string, flags ...string) error {
	c := command{kind: kind}
	for _, address := range []*string{&c.listen, &c.health, &c.metrics} {
		free, err := freeAddress()
		if err != nil {
			return err
		}
		*address = free
	}
	switch name {
	case "chat":
		s.ChatURL = "nats://" + c.listen
	case "gateway":
		if s.opts.Listen != "" {
			c.listen = s.opts.Listen
		}
		s.GatewayURL = "http://" + c.listen
	}
	switch kind {
	case "chat":
		c.args = []string{"--listen", c.listen, "--health-listen", c.health, "--store-dir", filepath.Join(s.Dir, "chat")}
	case "operator":
		// A short lease: many tests kill the only operator and wait for what the next one does. Not
		// shorter: nobody starts one again that lost it because the machine was busy.
		c.args = append([]string{"--namespace", SystemNamespace, "--media-namespace", MediaNamespace, "--media-image", mediaImage, "--lease", "6s",
			"--public-url", s.GatewayURL, "--health-listen", c.health, "--metrics-listen", c.metrics}, s.opts.OperatorFlags...)
	case "gateway":
		c.args = append([]string{"--namespace", SystemNamespace, "--listen", c.listen, "--health-listen", c.health,
			"--public-url", s.GatewayURL, "--allow-guests", "--linger", "0s"}, s.opts.GatewayFlags...)
	case "fakefleet":
		c.args = []string{"--namespace", MediaNamespace, "--admin", c.health}
	}
	c.args = append(c.args, flags...)
	if err := s.authorize(name, &c); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commands[name] = c
	return nil
}

// authorize gives a command that calls the API server a user there, and its way.
func (s *Stack) authorize(name string, c *command) (err error) {
	switch {
	case c.kind == "chat":
	case c.kind == "fakefleet":
		c.env, err = s.user(name, "", "system:node:fakefleet", "system:masters") // told apart in an audit log
	case s.opts.FakeFleet: // what is measured takes no detour
		c.env, err = s.serviceAccount(name, "voiceroom-"+c.kind, "")
	default:
		if c.link, err = newLink(s.Config.Host); err != nil {
			return err
		}
		if c.env, err = s.serviceAccount(name, "voiceroom-"+c.kind, c.link.address); err != nil {
			c.link.cut()
		}
	}
	return err
}

// Replicate starts one more "operator" or "gateway", with further flags, waits until it
// is ready and returns its name.
func (s *Stack) Replicate(ctx context.Context, kind string, flags ...string) (name string, err error) {
	for n := 2; name == ""; n++ {
		if replica := fmt.Sprintf("%s-%d", kind, n); !slices.Contains(s.replicas(), replica) {
			name = replica
		}
	}
	if err := s.define(name, kind, flags...); err != nil {
		return "", err
	}
	if err := s.StartProcess(name); err != nil {
		return "", err
	}
	return name, s.WaitProcess(ctx, name)
}

// replicas are the names of all operators and gateways.
func (s *Stack) replicas() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := slices.Sorted(maps.Keys(s.commands))
	return slices.DeleteFunc(names, func(name string) bool { kind := s.commands[name].kind; return kind != "operator" && kind != "gateway" })
}

// URL is where a gateway serves.
func (s *Stack) URL(name string) string { return "http://" + s.command(name).listen }

// HealthURL is where a process answers probes.
func (s *Stack) HealthURL(name string) string { return "http://" + s.command(name).health }

// MetricsURL is where a process shows its metrics.
func (s *Stack) MetricsURL(name string) string {
	c := s.command(name)
	if c.kind != "operator" {
		c.metrics = c.health
	}
	return "http://" + c.metrics + "/metrics"
}

func (s *Stack) command(name string) command {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.commands[name]
}

// SignalProcess sends a signal to a process.
func (s *Stack) SignalProcess(name string, signal syscall.Signal) error {
	p := s.process(name)
	if p == nil {
		return fmt.Errorf("there is no process %s", name)
	}
	if err := syscall.Kill(p.PID(), signal); err != nil {
		return fmt.Errorf("sending %v to the %s: %w", signal, name, err)
	}
	return nil
}
