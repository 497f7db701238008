package transport

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pion/rtcp"

	"voiceroom.dev/voiceroom/media/transport/transporttest"
)

// What we write is read by pion's parser, what pion writes by ours.
func TestReportsAreWellFormed(t *testing.T) {
	now := time.Date(2026, 11, 25, 1, 2, 3, 500_000_000, time.UTC)
	block := reportBlock{ssrc: 7, fraction: 64, lost: -3, highest: 70000, jitter: 12, lsr: 5, dlsr: 6}
	b := appendSR(nil, 1, now, SenderInfo{Packets: 10, Octets: 800, RTPTime: 960})
	b = appendSDES(b, 1)
	b = appendRR(b, 2, block)
	b = appendSDES(b, 2)
	packets, err := rtcp.Unmarshal(b)
	if err != nil {
		t.Fatal(err)
	}
	sdes := func(ssrc uint32) *rtcp.SourceDescription {
		return &rtcp.SourceDescription{Chunks: []rtcp.SourceDescriptionChunk{
			{Source: ssrc, Items: []rtcp.SourceDescriptionItem{{Type: rtcp.SDESCNAME, Text: "room"}}},
		}}
	}
	want := []rtcp.Packet{
		&rtcp.SenderReport{SSRC: 1, NTPTime: ntpTime(now), RTPTime: 960, PacketCount: 10, OctetCount: 800},
		sdes(1),
		&rtcp.ReceiverReport{SSRC: 2, Reports: []rtcp.ReceptionReport{{
			SSRC: 7, FractionLost: 64, TotalLost: 1<<24 - 3, LastSequenceNumber: 70000, Jitter: 12, LastSenderReport: 5, Delay: 6,
		}}, ProfileExtensions: []byte{}},
		sdes(2),
	}
	if diff := cmp.Diff(want, packets); diff != "" {
		t.Errorf("reports (-want +got):\n%s", diff)
	}
	var c compound
	if err := c.parse(b); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]reportBlock{block}, c.blocks[:c.blockCount], cmp.AllowUnexported(reportBlock{})); diff != "" {
		t.Errorf("our own block (-want +got):\n%s", diff)
	}
	if c.sender != 1 || c.senderNTP != ntpMiddle(now) {
		t.Errorf("sender %d at %d", c.sender, c.senderNTP)
	}
}

func TestNTPTime(t *testing.T) {
	// RFC 3550, section 6.4.1, figure 2: 10 Nov 1995 11:33:25.125 UTC.
	if got := ntpTime(time.Unix(0xb44db705-ntpEpochDiff, 125_000_000)); got != 0xb44d_b705_2000_0000 {
		t.Errorf("got %#x", got)
	}
}

func TestParseNACKs(t *testing.T) {
	raw, err := rtcp.Marshal([]rtcp.Packet{
		&rtcp.PictureLossIndication{SenderSSRC: 1, MediaSSRC: 2},
		&rtcp.TransportLayerNack{SenderSSRC: 1, MediaSSRC: 9, Nacks: []rtcp.NackPair{
			{PacketID: 65535, LostPackets: 1 | 1<<15}, {PacketID: 40},
		}},
		&rtcp.Goodbye{Sources: []uint32{1}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var c compound
	if err := c.parse(raw); err != nil {
		t.Fatal(err)
	}
	want := []nack{{9, 65535}, {9, 0}, {9, 15}, {9, 40}}
	if diff := cmp.Diff(want, c.nacks[:c.nackCount], cmp.AllowUnexported(nack{})); diff != "" {
		t.Errorf("nacks (-want +got):\n%s", diff)
	}

	flood := &rtcp.TransportLayerNack{MediaSSRC: 9}
	for range 250 {
		flood.Nacks = append(flood.Nacks, rtcp.NackPair{LostPackets: 0xffff})
	}
	if raw, err = rtcp.Marshal([]rtcp.Packet{flood}); err != nil {
		t.Fatal(err)
	}
	if err := c.parse(raw); err != nil || c.nackCount != MaxNACK {
		t.Errorf("a flood: %d, %v", c.nackCount, err)
	}
}

func TestParseRefuses(t *testing.T) {
	for name, raw := range map[string][]byte{
		"version":            {1 << 6, typeRR, 0, 0},
		"too long":           {2 << 6, typeRR, 0, 2, 0, 0, 0, 1},
		"half a header":      {2 << 6, typeRR},
		"blocks missing":     {2<<6 | 1, typeRR, 0, 1, 0, 0, 0, 1},
		"no sender info":     {2 << 6, typeSR, 0, 1, 0, 0, 0, 1},
		"NACK without FCI":   {2<<6 | formatNACK, typeRTPFB, 0, 1, 0, 0, 0, 1},
		"impossible padding": {2<<6 | 0x20, typeRR, 0, 1, 0, 0, 0, 9},
	} {
		var c compound
		if err := c.parse(raw); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzParseRTCP(f *testing.F) {
	f.Add(appendSDES(appendRR(nil, 1, reportBlock{ssrc: 2}), 1))
	f.Add(appendSR(nil, 1, time.Unix(0, 0), SenderInfo{}))
	f.Add([]byte{2<<6 | formatNACK, typeRTPFB, 0, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 1, 0xff, 0xff})
	f.Add([]byte{2<<6 | 0x20, typeRR, 0, 2, 0, 0, 0, 9, 0, 0, 0, 4})
	f.Fuzz(func(t *testing.T, raw []byte) {
		var c compound
		if c.parse(raw) == nil && (c.blockCount > maxBlocks || c.nackCount > MaxNACK) {
			t.Fatal("more than it can hold")
		}
	})
}

func TestUplinkStats(t *testing.T) {
	start := time.Unix(1_700_000_000, 0)
	at := func(i int) time.Time { return start.Add(time.Duration(i) * 20 * time.Millisecond) }
	var u uplinkStats
	if _, ok := u.block(); ok {
		t.Error("a block before the first packet")
	}
	// 65530 to 65549 across the wrap, without two; one late.
	for _, i := range []int{0, 1, 2, 4, 3, 5, 6, 7, 8, 11, 12, 13, 14, 15, 16, 17, 18, 19} {
		u.add(5, uint16(65530+i), uint32(960*i), at(i))
	}
	got, ok := u.block()
	want := reportBlock{ssrc: 5, fraction: 2 * 256 / 20, lost: 2, highest: 65549, jitter: got.jitter}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(reportBlock{})); !ok || diff != "" {
		t.Errorf("block %v (-want +got):\n%s", ok, diff)
	}
	if _, ok := u.block(); ok {
		t.Error("a block for an interval without packets")
	}
	u.add(5, uint16((65530+20)&0xffff), 960*20, at(20))
	if got, _ := u.block(); got.fraction != 0 || got.lost != 2 {
		t.Errorf("the next interval: %+v", got)
	}
	// Another source starts afresh; the past is kept.
	u.add(6, 100, 0, at(21))
	if u.pastReceived != 19 || u.pastLost != 2 || u.received != 1 || u.lost() != 0 {
		t.Errorf("after a new source: %+v", u)
	}
}

func TestUplinkJitter(t *testing.T) {
	start := time.Unix(1_700_000_000, 0)
	var even, uneven uplinkStats
	for i := range 200 {
		at := start.Add(time.Duration(i) * 20 * time.Millisecond)
		timestamp := uint32(0xffff_f000 + 960*i) // wraps
		even.add(1, uint16(i), timestamp, at)
		uneven.add(1, uint16(i), timestamp, at.Add(time.Duration(i%2)*10*time.Millisecond))
	}
	if even.jitter>>4 != 0 {
		t.Errorf("jitter of an even source: %d", even.jitter>>4)
	}
	if got := uneven.jitter >> 4; got < 470 || got > 480 { // 10 ms are 480 units
		t.Errorf("jitter of an uneven source: %d", got)
	}
}

type fixedReporter struct{}

func (fixedReporter) SenderInfo(slot int, _ time.Time) (SenderInfo, bool) {
	return SenderInfo{Packets: 5, Octets: 50, RTPTime: 4800}, slot == 0
}

func TestReportsReachTheClient(t *testing.T) {
	s := newServer(t)
	client := transporttest.New(t, transporttest.Options{Both: true, Slots: 1, Data: true})
	c, h := join(t, s, client)
	transporttest.Receive(t, h.connected, "the connection")
	transporttest.Receive(t, client.Opened, "the open data channel") // media may flow since
	c.SetReporter(fixedReporter{})
	c.SetListenerLoss(0.25)
	client.Send(10, 960, -1, []byte("opus"))
	transporttest.Receive(t, h.packets, "the packet")

	// The ticker sends the receiver report; pion delivers it to the sender of the uplink.
	var got *rtcp.ReceiverReport
	for got == nil {
		for _, p := range client.Report() {
			if rr, ok := p.(*rtcp.ReceiverReport); ok && len(rr.Reports) == 1 {
				got = rr
			}
		}
	}
	if r := got.Reports[0]; r.FractionLost != 64 || r.LastSequenceNumber != 10 || r.TotalLost != 0 {
		t.Errorf("report %+v", r)
	}
	st := c.Stats()
	if st.Received != 1 || st.Lost != 0 || !st.Remote.IsValid() {
		t.Errorf("stats %+v", st)
	}
}

func TestReceptionReports(t *testing.T) {
	s := newServer(t)
	client := transporttest.New(t, transporttest.Options{Slots: 2, NACK: true, Data: true})
	c, h := join(t, s, client)
	transporttest.Receive(t, h.connected, "the connection")
	transporttest.Receive(t, client.Opened, "the open data channel") // media may flow since
	second := c.Slots()[1].SSRC
	lsr := ntpMiddle(time.Now().Add(-time.Second))
	if err := client.PC.WriteRTCP([]rtcp.Packet{
		&rtcp.ReceiverReport{SSRC: 1, Reports: []rtcp.ReceptionReport{
			{SSRC: second, FractionLost: 128, LastSenderReport: lsr, Delay: 1 << 15}, // half a second
			{SSRC: 12345, FractionLost: 255},
		}},
		&rtcp.TransportLayerNack{SenderSSRC: 1, MediaSSRC: second, Nacks: []rtcp.NackPair{{PacketID: 3, LostPackets: 1}}},
	}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]uint16{3, 4}, transporttest.Receive(t, h.nacks, "the NACK")); diff != "" {
		t.Errorf("NACK (-want +got):\n%s", diff)
	}
	st := c.Stats()
	if st.DownlinkFraction != 0.5 || st.NACKed != 2 || st.RoundTrip < 500*time.Millisecond {
		t.Errorf("stats %+v", st)
	}
}
