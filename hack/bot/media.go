package bot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/pion/interceptor"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// offer makes the PeerConnection: an uplink without a microphone yet, receiving
// slots, and the data channel.
func (b *Bot) offer() (string, error) {
	pc, err := newPeerConnection()
	if err != nil {
		return "", fmt.Errorf("making a peer connection: %w", err)
	}
	b.pc = pc
	uplink, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2}, "mic", "mic")
	if err != nil {
		return "", fmt.Errorf("making the uplink: %w", err)
	}
	b.state.Lock()
	b.uplink = uplink
	b.state.Unlock()
	up, err := pc.AddTransceiverFromTrack(uplink, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
	if err != nil {
		return "", fmt.Errorf("adding the uplink: %w", err)
	}
	b.readers.Go(func() { drain(up.Sender()) })
	slots := map[*webrtc.RTPReceiver]int{}
	for i := range b.cfg.Slots {
		t, err := pc.AddTransceiverFromKind(webrtc.RTPCodecTypeAudio, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly})
		if err != nil {
			return "", fmt.Errorf("adding slot %d: %w", i, err)
		}
		slots[t.Receiver()] = i
	}
	pc.OnTrack(func(t *webrtc.TrackRemote, r *webrtc.RTPReceiver) { b.readers.Go(func() { b.listen(t, slots[r]) }) })
	var once, closed sync.Once
	pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		switch s {
		case webrtc.PeerConnectionStateConnected:
			once.Do(func() { close(b.up) })
		case webrtc.PeerConnectionStateFailed, webrtc.PeerConnectionStateClosed:
			closed.Do(func() { close(b.down) })
		}
	})
	if err := b.openChannel(); err != nil {
		return "", err
	}
	o, err := pc.CreateOffer(nil)
	if err != nil {
		return "", fmt.Errorf("making the offer: %w", err)
	}
	if err := pc.SetLocalDescription(o); err != nil {
		return "", fmt.Errorf("taking the offer: %w", err)
	}
	return o.SDP, nil
}

func newPeerConnection() (*webrtc.PeerConnection, error) {
	var m webrtc.MediaEngine
	opus := webrtc.RTPCodecParameters{PayloadType: 111, RTPCodecCapability: webrtc.RTPCodecCapability{
		MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2, SDPFmtpLine: "minptime=10;useinbandfec=1"}}
	if err := m.RegisterCodec(opus, webrtc.RTPCodecTypeAudio); err != nil {
		return nil, err
	}
	var i interceptor.Registry
	if err := webrtc.RegisterDefaultInterceptors(&m, &i); err != nil {
		return nil, err
	}
	var s webrtc.SettingEngine
	s.SetIncludeLoopbackCandidate(true)
	return webrtc.NewAPI(webrtc.WithMediaEngine(&m), webrtc.WithInterceptorRegistry(&i), webrtc.WithSettingEngine(s)).NewPeerConnection(webrtc.Configuration{})
}

// drain reads the RTCP about the uplink, which makes the interceptors see it.
func drain(s *webrtc.RTPSender) {
	buf := make([]byte, 1500)
	for {
		if _, _, err := s.Read(buf); err != nil {
			return
		}
	}
}

func (b *Bot) listen(t *webrtc.TrackRemote, slot int) {
	for {
		p, _, err := t.ReadRTP()
		if err != nil {
			return
		}
		f := Frame{Slot: slot, Payload: p.Payload, Epoch: b.Grant.Epoch, At: time.Now()}
		if len(p.CSRC) > 0 {
			f.Member = p.CSRC[0]
		}
		b.hear(f)
	}
}

// talker numbers the packets of the uplink.
type talker struct {
	sync.Mutex
	seq     uint16
	ts      uint32
	started bool
}

// Say sends one frame now.
func (b *Bot) Say(frame []byte) error {
	b.state.Lock()
	defer b.state.Unlock()
	if b.uplink == nil {
		return errors.New("sending a frame: there is no connection yet")
	}
	if !b.state.started {
		b.state.seq, b.state.ts = uint16(rand.Uint32()), rand.Uint32()
	}
	p := &rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: b.state.seq, Timestamp: b.state.ts, Marker: !b.state.started}, Payload: frame}
	b.state.started = true
	b.state.seq++
	b.state.ts += uint32(FrameDuration * 48000 / time.Second)
	if err := b.uplink.WriteRTP(p); err != nil {
		return fmt.Errorf("sending a frame: %w", err)
	}
	return nil
}

// Play sends frames in real time, until the last one or the end of ctx.
func (b *Bot) Play(ctx context.Context, frames [][]byte) error {
	tick := time.NewTicker(FrameDuration)
	defer tick.Stop()
	for _, f := range frames {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := b.Say(f); err != nil {
			return err
		}
	}
	return nil
}

// calls matches replies on the data channel with the commands that wait for them.
type calls struct {
	sync.Mutex
	next    int
	waiting map[string]chan reply
}

func newCalls() calls { return calls{waiting: map[string]chan reply{}} }

type reply struct {
	Type  string        `json:"type"`
	ID    string        `json:"id"`
	OK    bool          `json:"ok"`
	Error *ProblemError `json:"error"`
}

func (b *Bot) openChannel() error {
	dc, err := b.pc.CreateDataChannel("room", nil)
	if err != nil {
		return fmt.Errorf("opening the data channel: %w", err)
	}
	b.channel = dc
	dc.OnOpen(func() { close(b.opened) })
	dc.OnMessage(func(m webrtc.DataChannelMessage) {
		var r reply
		if json.Unmarshal(m.Data, &r) != nil {
			return
		}
		if r.Type != "reply" {
			b.notice(r.Type, m.Data)
			return
		}
		b.calls.Lock()
		defer b.calls.Unlock()
		if ch := b.calls.waiting[r.ID]; ch != nil {
			delete(b.calls.waiting, r.ID)
			ch <- r
		}
	})
	return nil
}

// Do gives one command over the data channel and waits for the reply; a refusal is
// a *ProblemError.
func (b *Bot) Do(ctx context.Context, command string, body any) error {
	select {
	case <-b.opened:
	case <-b.down:
		return fmt.Errorf("%s: the connection is gone", command)
	case <-ctx.Done():
		return fmt.Errorf("%s: waiting for the data channel: %w", command, ctx.Err())
	}
	answer := make(chan reply, 1)
	b.calls.Lock()
	b.calls.next++
	id := fmt.Sprint(b.calls.next)
	b.calls.waiting[id] = answer
	b.calls.Unlock()
	msg, err := json.Marshal(map[string]any{"id": id, "type": command, "body": body})
	if err != nil {
		return err
	}
	if err := b.channel.SendText(string(msg)); err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	select {
	case r := <-answer:
		if r.Error != nil {
			return fmt.Errorf("%s: %w", command, r.Error)
		}
		return nil
	case <-b.down:
		return fmt.Errorf("%s: the connection is gone", command)
	case <-ctx.Done():
		return fmt.Errorf("%s: waiting for the reply: %w", command, ctx.Err())
	}
}
