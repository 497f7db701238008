package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/webrtc/v4"

	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/test/torture/history"
)

const (
	standTime   = 4 * time.Second // for a media connection to stand
	replyTime   = 5 * time.Second
	commandPace = 60 * time.Millisecond // of one client, below what the pod reads
)

var errDown = errors.New("the connection is gone")

// peer is a real WebRTC client that listens, and commands over its data channel.
type peer struct {
	grant grant
	pc    *webrtc.PeerConnection
	data  *webrtc.DataChannel

	up, open, down  chan struct{}
	upOnce, endOnce sync.Once

	mu      sync.Mutex
	next    int
	free    time.Time // when it may command again
	waiting map[string]chan reply
}

// reply is a message of the pod, as far as it is looked at.
type reply struct {
	Type  string      `json:"type"`
	ID    string      `json:"id"`
	Error *room.Error `json:"error"`
}

// newAPI makes clients with as little to do as possible.
func newAPI() (*webrtc.API, error) {
	var media webrtc.MediaEngine
	opus := webrtc.RTPCodecParameters{PayloadType: 111, RTPCodecCapability: webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2}}
	if err := media.RegisterCodec(opus, webrtc.RTPCodecTypeAudio); err != nil {
		return nil, fmt.Errorf("registering Opus: %w", err)
	}
	var s webrtc.SettingEngine
	s.SetIncludeLoopbackCandidate(true)
	s.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	s.SetIPFilter(net.IP.IsLoopback)
	s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	return webrtc.NewAPI(webrtc.WithMediaEngine(&media), webrtc.WithSettingEngine(s), webrtc.WithInterceptorRegistry(&interceptor.Registry{})), nil
}

// newPeer makes a client and its offer.
func newPeer(api *webrtc.API) (*peer, string, error) {
	pc, err := api.NewPeerConnection(webrtc.Configuration{BundlePolicy: webrtc.BundlePolicyMaxBundle})
	if err != nil {
		return nil, "", fmt.Errorf("making a peer connection: %w", err)
	}
	c := &peer{pc: pc, up: make(chan struct{}), open: make(chan struct{}), down: make(chan struct{}), waiting: map[string]chan reply{}}
	offer, err := c.offer()
	if err != nil {
		return nil, "", errors.Join(err, pc.Close())
	}
	return c, offer, nil
}

func (c *peer) offer() (string, error) {
	if _, err := c.pc.AddTransceiverFromKind(webrtc.RTPCodecTypeAudio, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
		return "", fmt.Errorf("adding a slot: %w", err)
	}
	data, err := c.pc.CreateDataChannel("room", nil)
	if err != nil {
		return "", fmt.Errorf("opening the data channel: %w", err)
	}
	c.data = data
	data.OnOpen(func() { close(c.open) })
	data.OnMessage(func(m webrtc.DataChannelMessage) { c.hear(m.Data) })
	c.pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		switch s {
		case webrtc.PeerConnectionStateConnected:
			c.upOnce.Do(func() { close(c.up) })
		case webrtc.PeerConnectionStateDisconnected, webrtc.PeerConnectionStateFailed, webrtc.PeerConnectionStateClosed:
			c.endOnce.Do(func() { close(c.down) })
		}
	})
	o, err := c.pc.CreateOffer(nil)
	if err != nil {
		return "", fmt.Errorf("making the offer: %w", err)
	}
	if err := c.pc.SetLocalDescription(o); err != nil {
		return "", fmt.Errorf("taking the offer: %w", err)
	}
	return o.SDP, nil
}

// stand takes the answer and waits until the data channel is open.
func (c *peer) stand(ctx context.Context, answer string) error {
	if err := c.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}); err != nil {
		return fmt.Errorf("taking the answer: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, standTime)
	defer cancel()
	for _, stood := range []chan struct{}{c.up, c.open} {
		select {
		case <-stood:
		case <-c.down:
			return errDown
		case <-ctx.Done():
			return fmt.Errorf("waiting for the media connection: %w", ctx.Err())
		}
	}
	return nil
}

func (c *peer) hear(message []byte) {
	var r reply
	if json.Unmarshal(message, &r) != nil {
		return
	}
	switch r.Type {
	case "bye":
		c.endOnce.Do(func() { close(c.down) })
	case "reply":
		c.mu.Lock()
		defer c.mu.Unlock()
		if ch := c.waiting[r.ID]; ch != nil {
			delete(c.waiting, r.ID)
			ch <- r
		}
	}
}

// idle says whether the client may command now, and takes its turn.
func (c *peer) idle(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Before(c.free) {
		return false
	}
	c.free = now.Add(commandPace)
	return true
}

// command gives one command over the data channel.
func (c *peer) command(ctx context.Context, kind history.Kind, body any) (room.Code, outcome) {
	answer := make(chan reply, 1)
	c.mu.Lock()
	c.next++
	id := strconv.Itoa(c.next)
	c.waiting[id] = answer
	c.mu.Unlock()
	message, err := json.Marshal(map[string]any{"id": id, "type": kind, "body": body})
	if err != nil || c.data.SendText(string(message)) != nil {
		return "", unsent
	}
	ctx, cancel := context.WithTimeout(ctx, replyTime)
	defer cancel()
	select {
	case r := <-answer:
		if r.Error != nil {
			return r.Error.Code, outcomeOf(r.Error.Code)
		}
		return "", answered
	case <-c.down:
	case <-ctx.Done():
	}
	return "", lost
}

func (c *peer) isDown() bool {
	select {
	case <-c.down:
		return true
	default:
		return false
	}
}

// close ends the connection without a word.
func (c *peer) close() {
	c.endOnce.Do(func() { close(c.down) })
	_ = c.pc.Close()
}
