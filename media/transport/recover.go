package transport

import "voiceroom.dev/voiceroom/media/red"

// handedSize is how many packets back it is known what the handler got: as far as a RED payload reaches,
// and as many again that came out of order.
const handedSize = 2 * red.MaxBlocks

// handed knows which of the last packets of one source the handler got, so that it gets no frame twice:
// neither a copy of what came, nor a packet that was late after its copy. A new SSRC starts it afresh.
type handed struct {
	started bool
	ssrc    uint32
	highest uint16
	frames  [handedSize]frame // by sequence number
}

type frame struct {
	timestamp uint32
	sequence  uint16
	known     bool
}

// take notes that the handler gets p, and is false if it had it before.
func (d *handed) take(p *Packet) bool {
	if !d.started || p.SSRC != d.ssrc {
		*d = handed{started: true, ssrc: p.SSRC, highest: p.Sequence}
	}
	switch delta := int16(p.Sequence - d.highest); {
	case delta > 0:
		d.highest = p.Sequence
	case delta <= -handedSize:
		return true // too late to tell; its place is another's now
	}
	f := &d.frames[p.Sequence%handedSize]
	if f.known && f.sequence == p.Sequence {
		return false
	}
	*f = frame{timestamp: p.Timestamp, sequence: p.Sequence, known: true}
	return true
}

// lacks reports whether the handler did not get the frame of p, which is older than the newest one. The
// timestamp decides too: a client that sends copies of every other frame only numbers them differently.
func (d *handed) lacks(p *Packet) bool {
	if age := d.highest - p.Sequence; age == 0 || age >= handedSize {
		return false
	}
	if f := &d.frames[p.Sequence%handedSize]; f.known && f.sequence == p.Sequence {
		return false
	}
	for i := range d.frames {
		if f := &d.frames[i]; f.known && f.timestamp == p.Timestamp {
			return false
		}
	}
	return true
}

// unwrap hands on what is in the RED payload of rd.packet: frames whose packets were lost first, then the
// packet's own. RED does not number its copies; they are taken to be of the packets right before it, as
// all senders in use make them. What is not Opus, RED in RED among it, is ignored. c.recv.mu is held.
func (rd *reader) unwrap(c *Conn) {
	r, counters, own := &c.recv, &rd.server.counters, rd.packet
	redundant, primary, err := red.Parse(own.Payload, rd.blocks[:0])
	if err != nil {
		counters.DroppedMalformed.Add(1)
		return
	}
	fresh := r.handed.take(&own)
	p := &rd.packet
	p.Size, p.Marker = 0, false
	for i := range redundant {
		b := &redundant[i]
		p.Sequence, p.Timestamp, p.Payload = own.Sequence-uint16(len(redundant)-i), own.Timestamp-b.Offset, b.Data
		if b.PayloadType == r.pt && len(b.Data) > 0 && r.handed.lacks(p) {
			r.handed.take(p)
			counters.Recovered.Add(1)
			c.handler.RTP(p)
		}
	}
	if fresh && primary.PayloadType == r.pt && len(primary.Data) > 0 {
		*p = own
		p.Payload = primary.Data
		c.handler.RTP(p)
	}
}
