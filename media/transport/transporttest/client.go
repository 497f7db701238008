// Package transporttest is a real WebRTC client, pion's PeerConnection, for tests of a media server.
package transporttest

import (
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/ice/v4"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// LevelURI is the header extension of audio levels (RFC 6464).
const LevelURI = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"

// Patience is how long a test waits for what must happen before it fails; nothing measures it.
const Patience = 20 * time.Second

// opus and red are the encodings that a client can send.
var (
	opus = webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2, SDPFmtpLine: "minptime=10;useinbandfec=1"}
	red  = webrtc.RTPCodecCapability{MimeType: "audio/red", ClockRate: 48000, Channels: 2, SDPFmtpLine: "111/111"}
)

// queue is how many packets and messages a client keeps for its test.
const queue = 4096

// Options shape a client and its offer.
type Options struct {
	Uplink  bool                       // a sendonly m-line
	Slots   int                        // recvonly m-lines
	Both    bool                       // a sendrecv m-line first: the uplink and slot 0
	Data    bool                       // the data channel "room"
	NACK    bool                       // offer NACK for Opus
	RED     bool                       // offer RED (RFC 2198) as payload type 63, as Chromium does, and send the uplink with it
	TCP     bool                       // ICE-TCP only
	Profile dtls.SRTPProtectionProfile // 0: pion's preference
	Tap     func(datagram []byte)      // is shown what arrives at the socket, before anything else is; it keeps nothing
	Deaf    bool                       // goes on although the server says that the connection has ended
}

// Client is one PeerConnection. Packets and messages that arrive are queued.
type Client struct {
	PC        *webrtc.PeerConnection
	Uplink    *webrtc.TrackLocalStaticRTP
	Channel   *webrtc.DataChannel
	Opened    chan struct{} // closed when the data channel is open
	Connected chan struct{} // closed when DTLS is up
	Ended     chan struct{} // closed when the connection failed or was closed
	Messages  chan string

	t       testing.TB
	sender  *webrtc.RTPSender
	mu      sync.Mutex
	packets map[string]chan *rtp.Packet // by mid
	tracks  map[string]*webrtc.TrackRemote
	reports chan []rtcp.Packet // about the uplink
}

// New makes a client that is closed when the test ends.
func New(t testing.TB, o Options) *Client {
	t.Helper()
	pc, err := newAPI(t, o).NewPeerConnection(webrtc.Configuration{BundlePolicy: webrtc.BundlePolicyMaxBundle})
	if err != nil {
		t.Fatalf("make a PeerConnection: %v", err)
	}
	c := &Client{
		PC: pc, t: t,
		Opened: make(chan struct{}), Connected: make(chan struct{}), Ended: make(chan struct{}),
		Messages: make(chan string, queue),
		packets:  map[string]chan *rtp.Packet{},
		tracks:   map[string]*webrtc.TrackRemote{},
		reports:  make(chan []rtcp.Packet, queue),
	}
	t.Cleanup(func() { _ = pc.Close() })
	c.watch()
	c.shape(o)
	return c
}

func newAPI(t testing.TB, o Options) *webrtc.API {
	t.Helper()
	var engine webrtc.MediaEngine
	opus := opus
	if o.NACK {
		opus.RTCPFeedback = []webrtc.RTCPFeedback{{Type: "nack"}}
	}
	if err := engine.RegisterCodec(webrtc.RTPCodecParameters{RTPCodecCapability: opus, PayloadType: 111}, webrtc.RTPCodecTypeAudio); err != nil {
		t.Fatalf("register Opus: %v", err)
	}
	if o.RED {
		if err := engine.RegisterCodec(webrtc.RTPCodecParameters{RTPCodecCapability: red, PayloadType: 63}, webrtc.RTPCodecTypeAudio); err != nil {
			t.Fatalf("register RED: %v", err)
		}
	}
	if err := engine.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: LevelURI}, webrtc.RTPCodecTypeAudio); err != nil {
		t.Fatalf("register the level extension: %v", err)
	}
	var settings webrtc.SettingEngine
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	settings.SetIPFilter(net.IP.IsLoopback)
	settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	if o.TCP {
		settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeTCP4})
	}
	if o.Tap != nil {
		tap(t, &settings, o.Tap)
	}
	settings.DisableCloseByDTLS(o.Deaf)
	if o.Profile != 0 {
		settings.SetSRTPProtectionProfiles(o.Profile)
	}
	return webrtc.NewAPI(webrtc.WithMediaEngine(&engine), webrtc.WithSettingEngine(settings))
}

// watch queues what arrives.
func (c *Client) watch() {
	var connected, ended sync.Once
	c.PC.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		switch state {
		case webrtc.PeerConnectionStateConnected:
			connected.Do(func() { close(c.Connected) })
		case webrtc.PeerConnectionStateClosed, webrtc.PeerConnectionStateFailed:
			ended.Do(func() { close(c.Ended) })
		}
	})
	c.PC.OnTrack(func(track *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
		mid := receiver.RTPTransceiver().Mid()
		c.mu.Lock()
		c.tracks[mid] = track
		c.mu.Unlock()
		packets := c.packetsOf(mid)
		for {
			p, _, err := track.ReadRTP()
			if err != nil {
				return
			}
			packets <- p
		}
	})
}

func (c *Client) packetsOf(mid string) chan *rtp.Packet {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.packets[mid] == nil {
		c.packets[mid] = make(chan *rtp.Packet, queue)
	}
	return c.packets[mid]
}

// shape adds the m-lines.
func (c *Client) shape(o Options) {
	c.t.Helper()
	if o.Uplink || o.Both {
		direction := webrtc.RTPTransceiverDirectionSendonly
		if o.Both {
			direction = webrtc.RTPTransceiverDirectionSendrecv
		}
		encoding := opus
		if o.RED {
			encoding = red
		}
		track, err := webrtc.NewTrackLocalStaticRTP(encoding, "mic", "mic")
		if err != nil {
			c.t.Fatalf("make a track: %v", err)
		}
		transceiver, err := c.PC.AddTransceiverFromTrack(track, webrtc.RTPTransceiverInit{Direction: direction})
		if err != nil {
			c.t.Fatalf("add the uplink: %v", err)
		}
		c.Uplink, c.sender = track, transceiver.Sender()
		go c.readReports()
	}
	for range o.Slots {
		if _, err := c.PC.AddTransceiverFromKind(webrtc.RTPCodecTypeAudio,
			webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
			c.t.Fatalf("add a slot: %v", err)
		}
	}
	if o.Data {
		channel, err := c.PC.CreateDataChannel("room", nil)
		if err != nil {
			c.t.Fatalf("add the data channel: %v", err)
		}
		channel.OnOpen(func() { close(c.Opened) })
		channel.OnMessage(func(m webrtc.DataChannelMessage) { c.Messages <- string(m.Data) })
		c.Channel = channel
	}
}

func (c *Client) readReports() {
	for {
		packets, _, err := c.sender.ReadRTCP()
		if err != nil {
			return
		}
		c.reports <- packets
	}
}

// Offer makes an offer and sets it.
func (c *Client) Offer() []byte {
	c.t.Helper()
	return c.offer(nil)
}

// RestartOffer makes an offer with new ICE credentials and sets it.
func (c *Client) RestartOffer() []byte {
	c.t.Helper()
	return c.offer(&webrtc.OfferOptions{ICERestart: true})
}

func (c *Client) offer(options *webrtc.OfferOptions) []byte {
	c.t.Helper()
	offer, err := c.PC.CreateOffer(options)
	if err != nil {
		c.t.Fatalf("create an offer: %v", err)
	}
	if err := c.PC.SetLocalDescription(offer); err != nil {
		c.t.Fatalf("set the offer: %v", err)
	}
	return []byte(offer.SDP)
}

// Answer sets the server's answer.
func (c *Client) Answer(sdp []byte) {
	c.t.Helper()
	answer := webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: string(sdp)}
	if err := c.PC.SetRemoteDescription(answer); err != nil {
		c.t.Fatalf("set the answer: %v\n%s", err, sdp)
	}
}

// Send sends one packet of the uplink; SSRC and payload type are set by the track. With Options.RED the
// payload is RED's. A level from 0 to
// 127 is asserted with the voice flag; any other is not.
func (c *Client) Send(seq uint16, timestamp uint32, level int, payload []byte) {
	c.t.Helper()
	p := &rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: seq, Timestamp: timestamp}, Payload: payload}
	if level >= 0 && level <= 127 {
		for _, e := range c.sender.GetParameters().HeaderExtensions {
			if e.URI == LevelURI {
				if err := p.SetExtension(uint8(e.ID), []byte{byte(level) | 0x80}); err != nil {
					c.t.Fatalf("set the level: %v", err)
				}
			}
		}
	}
	if err := c.Uplink.WriteRTP(p); err != nil {
		c.t.Fatalf("send a packet: %v", err)
	}
}

// Packet waits for the next packet of the m-line with that mid.
func (c *Client) Packet(mid string) *rtp.Packet {
	c.t.Helper()
	return Receive(c.t, c.packetsOf(mid), "a packet of m-line "+mid)
}

// Pending is how many packets of an m-line nobody has taken yet.
func (c *Client) Pending(mid string) int { return len(c.packetsOf(mid)) }

// Report waits for RTCP about the uplink.
func (c *Client) Report() []rtcp.Packet {
	c.t.Helper()
	return Receive(c.t, c.reports, "a receiver report")
}

// Receive waits for a value, and fails the test when none comes.
func Receive[T any](t testing.TB, from <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(Patience):
		t.Fatalf("%s did not come", what)
		panic("unreachable")
	}
}

// Answerer is a PeerConnection that answers a client's offer, with a track for each of its slots: what a
// media server is measured against. It is closed when the test ends.
func Answerer(t testing.TB, offer []byte, slots int) (pc *webrtc.PeerConnection, answer []byte) {
	t.Helper()
	pc, err := newAPI(t, Options{}).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatalf("make a PeerConnection: %v", err)
	}
	t.Cleanup(func() { _ = pc.Close() })
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: string(offer)}); err != nil {
		t.Fatalf("set the offer: %v", err)
	}
	for i := range slots {
		track, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus}, "slot", strconv.Itoa(i))
		if err != nil {
			t.Fatalf("make a track: %v", err)
		}
		if _, err := pc.AddTrack(track); err != nil {
			t.Fatalf("add a track: %v", err)
		}
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	description, err := pc.CreateAnswer(nil)
	if err != nil {
		t.Fatalf("create an answer: %v", err)
	}
	if err := pc.SetLocalDescription(description); err != nil {
		t.Fatalf("set the answer: %v", err)
	}
	Receive(t, gathered, "the end of gathering")
	return pc, []byte(pc.LocalDescription().SDP)
}
