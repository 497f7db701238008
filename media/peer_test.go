package media_test

import (
	"crypto/rand"
	"encoding/json"
	"strconv"
	"time"

	"voiceroom.dev/voiceroom/media/transport/transporttest"
	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
)

// peer is a client in the room.
type peer struct {
	*transporttest.Client
	pod     *pod
	member  uint32
	session string
	token   string
	etag    string
	seq     uint16
}

var voice = transporttest.Options{Uplink: true, Slots: 4, Data: true}

// associate joins up to the media connection; it has not entered then.
func (p *pod) associate(subject string, o transporttest.Options) *peer {
	p.t.Helper()
	return p.associateAt(subject, o, func(answer string) string { return answer })
}

// associateAt is associate, where the client is given another answer than came.
func (p *pod) associateAt(subject string, o transporttest.Options, readdress func(answer string) string) *peer {
	p.t.Helper()
	session := "s-" + rand.Text()
	got, bearer := p.reserve(subject, session)
	c := &peer{Client: transporttest.New(p.t, o), pod: p, member: got.Member.ID, session: session, token: bearer}
	answer, err := p.gateway.Signal(p.t.Context(), mediaapi.SignalRequest{Epoch: 1, Token: bearer, Offer: string(c.Offer())})
	if err != nil {
		p.t.Fatalf("signalling for %s: %v", subject, err)
	}
	c.etag = answer.ETag
	c.Answer([]byte(readdress(answer.Answer)))
	if o.Data {
		c.await("welcome", nil)
	}
	return c
}

// join is associate, and enters.
func (p *pod) join(subject string, o transporttest.Options) *peer {
	p.t.Helper()
	c := p.associate(subject, o)
	p.command("", room.Enter{Session: c.session})
	return c
}

// joinUnder is join with a token of another signer, which the pod is told of.
func (p *pod) joinUnder(s *signer, subject string, o transporttest.Options) *peer {
	p.t.Helper()
	p.push(p.tokens, s)
	ours := p.tokens
	p.tokens = s
	defer func() { p.tokens = ours }()
	return p.join(subject, o)
}

// push makes the keys of these signers the ones that room tokens are verified with.
func (p *pod) push(signers ...*signer) {
	p.t.Helper()
	if err := p.operator.PushKeys(p.t.Context(), mediaapi.Keys{Tokens: union(signers...)}); err != nil {
		p.t.Fatal(err)
	}
}

// message is the union of the server's messages.
type message struct {
	Type    string       `json:"type"`
	ID      string       `json:"id"`
	OK      bool         `json:"ok"`
	Code    room.Code    `json:"code"`
	Error   *room.Error  `json:"error"`
	Member  uint32       `json:"member"`
	Session string       `json:"session"`
	Epoch   uint64       `json:"epoch"`
	Seq     uint64       `json:"seq"`
	Durable uint64       `json:"durable"`
	Detail  string       `json:"detail"`
	State   *room.State  `json:"state"`
	Events  []room.Event `json:"events"`
	Slots   json.RawMessage
}

// await takes messages until one of the type comes that ok accepts; nil accepts all.
func (c *peer) await(kind string, ok func(message) bool) message {
	c.pod.t.Helper()
	for deadline := time.Now().Add(transporttest.Patience); ; {
		if time.Now().After(deadline) { // heartbeats never end
			c.pod.t.Fatalf("the message %s that is waited for did not come", kind)
		}
		text := transporttest.Receive(c.pod.t, c.Messages, "a message "+kind)
		var m message
		if err := json.Unmarshal([]byte(text), &m); err != nil {
			c.pod.t.Fatalf("message %s: %v", text, err)
		}
		if m.Type == kind && (ok == nil || ok(m)) {
			return m
		}
	}
}

// ask sends a request and waits for its reply.
func (c *peer) ask(id, request string) message {
	c.pod.t.Helper()
	if err := c.Channel.SendText(request); err != nil {
		c.pod.t.Fatal(err)
	}
	return c.await("reply", func(m message) bool { return m.ID == id })
}

// say sends one packet.
func (c *peer) say(payload string, level int) {
	c.pod.t.Helper()
	c.seq++
	c.Send(c.seq, uint32(c.seq)*960, level, []byte(payload))
}

func mids(first, n int) []string {
	var out []string
	for i := range n {
		out = append(out, strconv.Itoa(first+i))
	}
	return out
}

// hear waits for the next packet on any slot of a client of the shape of voice.
func (c *peer) hear() (payload string, member uint32) {
	c.pod.t.Helper()
	deadline := time.Now().Add(transporttest.Patience)
	for time.Now().Before(deadline) {
		for _, mid := range mids(1, 4) {
			if c.Pending(mid) > 0 {
				p := c.Packet(mid)
				if len(p.CSRC) > 0 {
					member = p.CSRC[0]
				}
				return string(p.Payload), member
			}
		}
		time.Sleep(time.Millisecond)
	}
	c.pod.t.Fatal("nothing was heard")
	return "", 0
}
