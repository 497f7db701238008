// Package reference is a room on PeerConnections with Pion's default interceptors, as one builds it from
// the examples of Pion: a track for each talker, added to the connection of each listener. It is
// what the media server is compared with.
package reference

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/webrtc/v4"
)

// maxOffer is the largest offer that is read, in bytes.
const maxOffer = 64 << 10

// Room is a room of a fixed number of talkers. Its methods may be called from any goroutine.
type Room struct {
	api    *webrtc.API
	tracks []*webrtc.TrackLocalStaticRTP
}

// New makes a room whose connections use loopback.
func New(talkers int) (*Room, error) {
	var media webrtc.MediaEngine
	if err := media.RegisterDefaultCodecs(); err != nil {
		return nil, fmt.Errorf("registering codecs: %w", err)
	}
	var interceptors interceptor.Registry
	if err := webrtc.RegisterDefaultInterceptors(&media, &interceptors); err != nil {
		return nil, fmt.Errorf("registering interceptors: %w", err)
	}
	var settings webrtc.SettingEngine
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetIPFilter(net.IP.IsLoopback)
	settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	settings.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	r := &Room{api: webrtc.NewAPI(webrtc.WithMediaEngine(&media), webrtc.WithInterceptorRegistry(&interceptors), webrtc.WithSettingEngine(settings))}
	for i := range talkers {
		track, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus}, "mic", strconv.Itoa(i))
		if err != nil {
			return nil, fmt.Errorf("making a track: %w", err)
		}
		r.tracks = append(r.tracks, track)
	}
	return r, nil
}

// ServeHTTP answers the offer of POST /?talker=N, or without a number that of a listener.
func (r *Room) ServeHTTP(w http.ResponseWriter, h *http.Request) {
	talker := -1
	if n := h.FormValue("talker"); n != "" {
		i, err := strconv.Atoi(n)
		if err != nil || i < 0 || i >= len(r.tracks) {
			http.Error(w, "no such talker", http.StatusBadRequest)
			return
		}
		talker = i
	}
	offer, err := io.ReadAll(io.LimitReader(h.Body, maxOffer))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	answer, err := r.join(string(offer), talker)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_, _ = io.WriteString(w, answer)
}

func (r *Room) join(offer string, talker int) (answer string, err error) {
	pc, err := r.api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return "", fmt.Errorf("making a connection: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, pc.Close())
		}
	}()
	pc.OnConnectionStateChange(func(s webrtc.PeerConnectionState) {
		if s == webrtc.PeerConnectionStateFailed {
			_ = pc.Close() // it has gone
		}
	})
	pc.OnDataChannel(func(*webrtc.DataChannel) {}) // one that nobody wants is closed
	if talker >= 0 {
		pc.OnTrack(func(from *webrtc.TrackRemote, _ *webrtc.RTPReceiver) { forward(from, r.tracks[talker]) })
	}
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}); err != nil {
		return "", fmt.Errorf("taking the offer: %w", err)
	}
	if err := r.listen(pc, talker); err != nil {
		return "", err
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	description, err := pc.CreateAnswer(nil)
	if err != nil {
		return "", fmt.Errorf("making an answer: %w", err)
	}
	if err := pc.SetLocalDescription(description); err != nil {
		return "", fmt.Errorf("taking the answer: %w", err)
	}
	<-gathered
	return pc.LocalDescription().SDP, nil
}

// listen adds the tracks of all talkers but one's own, as far as the offer has m-lines for them.
func (r *Room) listen(pc *webrtc.PeerConnection, talker int) error {
	lines := 0
	for _, t := range pc.GetTransceivers() {
		if t.Direction() != webrtc.RTPTransceiverDirectionRecvonly { // of the server: the uplink
			lines++
		}
	}
	for i, track := range r.tracks {
		if i == talker || lines == 0 {
			continue
		}
		lines--
		sender, err := pc.AddTrack(track)
		if err != nil {
			return fmt.Errorf("adding a track: %w", err)
		}
		go func() { // interceptors see the RTCP that is read
			for buf := make([]byte, 1500); ; {
				if _, _, err := sender.Read(buf); err != nil {
					return
				}
			}
		}()
	}
	return nil
}

// forward takes a talker's packets to its track until the connection ends.
func forward(from *webrtc.TrackRemote, to *webrtc.TrackLocalStaticRTP) {
	for {
		packet, _, err := from.ReadRTP()
		if err != nil {
			return
		}
		if err := to.WriteRTP(packet); err != nil && !errors.Is(err, io.ErrClosedPipe) {
			return
		}
	}
}
