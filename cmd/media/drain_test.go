package main

import (
	"syscall"
	"testing"

	"voiceroom.dev/voiceroom/media/transport/transporttest"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/test/credentials"
	"voiceroom.dev/voiceroom/token"
)

// owned are the files of a pod, and what the operator and its clients prove themselves with.
type owned struct {
	*credentials.Credentials
	dir string
}

func newCredentials(t *testing.T) owned {
	t.Helper()
	dir := t.TempDir()
	c, err := credentials.Write(dir)
	if err != nil {
		t.Fatal(err)
	}
	return owned{c, dir}
}

func (c owned) flags() []string { return []string{"--keys=" + c.dir, "--tls=" + c.dir} }

// open gives a process a room that ann owns.
func (c owned) open(t *testing.T, p *process, members, mics int) *mediaapi.Client {
	t.Helper()
	dialer := c.Dialer()
	t.Cleanup(dialer.Close)
	pod := dialer.Pod(p.control, "uid")
	if _, err := pod.Put(t.Context(), mediaapi.PutRequest{ID: room.ID{UID: "room"}, Epoch: 1,
		Spec: room.Spec{Generation: 1, Owner: "ann", MaxMembers: members, MaxMics: mics, Access: room.Public, MicPolicy: room.Auto}}); err != nil {
		t.Fatal(err)
	}
	return pod
}

// offer lets a client offer, and returns the pod's answer. The client's subject is its session too.
func (c owned) offer(t *testing.T, pod *mediaapi.Client, subject, offer string) (answer string) {
	t.Helper()
	if err := pod.Renew(t.Context(), 1, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := pod.Reserve(t.Context(), mediaapi.ReserveRequest{Epoch: 1, Reserve: room.Reserve{Subject: subject, Session: subject}}); err != nil {
		t.Fatal(err)
	}
	bearer, err := c.Minter.Room(token.Room{RoomUID: "room", Epoch: 1, Subject: subject, Session: subject})
	if err != nil {
		t.Fatal(err)
	}
	got, err := pod.Signal(t.Context(), mediaapi.SignalRequest{Epoch: 1, Token: bearer, Offer: offer})
	if err != nil {
		t.Fatal(err)
	}
	return got.Answer
}

// occupied starts a process with a room that somebody is coming into.
func occupied(t *testing.T, flags ...string) (*process, *mediaapi.Client) {
	t.Helper()
	c := newCredentials(t)
	p := start(t, append(flags, c.flags()...)...)
	pod := c.open(t, p, 2, 1)
	client := transporttest.New(t, transporttest.Options{Slots: 1, Data: true})
	client.Answer([]byte(c.offer(t, pod, "ann", string(client.Offer()))))
	transporttest.Receive(t, client.Opened, "the data channel")
	return p, pod
}

// After SIGTERM a process with people in its room serves on, unready, until its grace is over, a second
// signal comes, or they have gone; then it exits 0.
func TestGrace(t *testing.T) {
	for name, test := range map[string]struct {
		grace string
		then  func(*testing.T, *process, *mediaapi.Client)
	}{
		"over":                   {"100ms", nil},
		"cut by a second signal": {"1h", func(t *testing.T, p *process, _ *mediaapi.Client) { p.signal(t, syscall.SIGTERM) }},
		"not needed any more": {"1h", func(t *testing.T, _ *process, pod *mediaapi.Client) {
			if err := pod.Delete(t.Context(), 1, "Test"); err != nil {
				t.Error(err)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			p, pod := occupied(t, "--grace="+test.grace)
			p.signal(t, syscall.SIGTERM)
			if test.then != nil {
				p.awaitUnready(t)
				if _, err := pod.Get(t.Context(), 1); err != nil {
					t.Errorf("the control API while the pod drains: %v", err)
				}
				test.then(t, p, pod)
			}
			if err := p.wait(); err != nil {
				t.Errorf("it ended with %v", err)
			}
		})
	}
}
