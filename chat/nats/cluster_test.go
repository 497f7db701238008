package nats_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"voiceroom.dev/voiceroom/chat"
	"voiceroom.dev/voiceroom/chat/nats"
)

// cluster is three real servers that replicate.
type cluster struct {
	opts    []*server.Options
	servers []*server.Server
	url     string
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	ports := freePorts(t, 6)
	var routes []*url.URL
	var urls []string
	for i := range 3 {
		routes = append(routes, &url.URL{Scheme: "nats", Host: fmt.Sprintf("127.0.0.1:%d", ports[3+i])})
		urls = append(urls, fmt.Sprintf("nats://127.0.0.1:%d", ports[i]))
	}
	c := &cluster{url: strings.Join(urls, ",")}
	for i := range 3 {
		c.opts = append(c.opts, &server.Options{
			ServerName: fmt.Sprintf("n%d", i), Host: "127.0.0.1", Port: ports[i],
			NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir(), SyncAlways: true,
			Cluster: server.ClusterOpts{Name: "chat", Host: "127.0.0.1", Port: ports[3+i]},
			Routes:  routes,
		})
	}
	c.start(t)
	return c
}

// freePorts returns ports that are free now. They are listened on together, so they differ.
func freePorts(t *testing.T, n int) []int {
	t.Helper()
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

func (c *cluster) start(t *testing.T) {
	t.Helper()
	t.Cleanup(c.stop)
	for _, opts := range c.opts {
		s, err := server.NewServer(opts.Clone())
		if err != nil {
			t.Fatal(err)
		}
		c.servers = append(c.servers, s)
		go s.Start()
	}
	for _, s := range c.servers {
		if !s.ReadyForConnections(20 * time.Second) {
			t.Fatal("a server of the cluster is not ready")
		}
	}
}

func (c *cluster) stop() {
	for _, s := range c.servers {
		s.Shutdown()
	}
	for _, s := range c.servers {
		s.WaitForShutdown()
	}
}

// leader returns the server that leads a stream, nil while there is none.
func (c *cluster) leader(stream string) *server.Server {
	for _, s := range c.servers {
		if s.Running() && s.JetStreamIsStreamLeader(server.DEFAULT_GLOBAL_ACCOUNT, stream) {
			return s
		}
	}
	return nil
}

// With three replicas the server that leads may die in the middle of writes:
// callers see ErrUnavailable for a while, retry, and nothing that was
// acknowledged is lost.
func TestLeaderDies(t *testing.T) {
	t.Parallel()
	const writers, each = 4, 40
	c := newCluster(t)
	p := open(t, nats.Config{URL: c.url, Replicas: 3, Timeout: 2 * time.Second, ReconnectWait: testReconnectWait})
	t.Cleanup(func() { _ = p.Close() }) // it always returns nil
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var g chat.Group
	insist(ctx, t, func() (err error) {
		g, err = p.CreateGroup(ctx, "room", chat.GroupSpec{Limits: chat.Limits{MaxMembers: 1000, MaxMics: 1}})
		return err
	})

	var acked atomic.Int64
	halfway := make(chan struct{})
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				subject := fmt.Sprintf("guest:%d/%d", w, i)
				insist(ctx, t, func() error { return p.AddMember(ctx, g.ID, chat.Member{Subject: subject}) })
				if i%2 == 1 {
					insist(ctx, t, func() error { return p.RemoveMember(ctx, g.ID, subject) })
				}
				if acked.Add(1) == writers*each/2 {
					close(halfway)
				}
			}
		})
	}
	<-halfway
	if leader := c.leader("voiceroom-state"); leader != nil { // else it is being elected, which is as good
		leader.Shutdown()
	}
	wg.Wait()

	var members []chat.Member
	insist(ctx, t, func() (err error) {
		members, err = p.Members(ctx, g.ID)
		return err
	})
	there := map[string]bool{}
	for _, m := range members {
		there[m.Subject] = true
	}
	for w := range writers {
		for i := range each {
			if subject := fmt.Sprintf("guest:%d/%d", w, i); there[subject] != (i%2 == 0) {
				t.Errorf("%s is a member: %t, which is not what was acknowledged", subject, there[subject])
			}
		}
	}
}

// insist retries what is unavailable, as callers do.
func insist(ctx context.Context, t *testing.T, call func() error) {
	t.Helper()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		err := call()
		if err == nil {
			return
		}
		if !errors.Is(err, chat.ErrUnavailable) {
			t.Errorf("got %v, want ErrUnavailable or nothing", err)
			return
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			t.Errorf("still %v", err)
			return
		}
	}
}
