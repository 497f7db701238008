package transport

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"voiceroom.dev/voiceroom/media/transport/transporttest"
)

// openChannels adds data channels to a client's offer, to be opened in this order. The last one's opening is told.
func openChannels(t *testing.T, client *transporttest.Client, labels ...string) (last *webrtc.DataChannel, opened <-chan struct{}) {
	t.Helper()
	open := make(chan struct{})
	for _, label := range labels {
		channel, err := client.PC.CreateDataChannel(label, nil)
		if err != nil {
			t.Fatal(err)
		}
		last = channel
	}
	last.OnOpen(func() { close(open) })
	return last, open
}

// Channels of other labels are closed and cost nothing more; the right one still opens.
func TestOtherChannels(t *testing.T) {
	s := newServer(t)
	client := transporttest.New(t, transporttest.Options{Uplink: true})
	channel, opened := openChannels(t, client, "chat", "", DataChannelLabel+" ", DataChannelLabel)
	_, h := join(t, s, client)
	transporttest.Receive(t, opened, "the open channel")
	if err := channel.SendText("hello"); err != nil {
		t.Fatal(err)
	}
	if got := transporttest.Receive(t, h.messages, "the message"); got != "hello" {
		t.Errorf("got %q", got)
	}
}

// Each channel that was opened is state here: a client cannot open them without end.
func TestChannelsAreBounded(t *testing.T) {
	s := newServer(t)
	client := transporttest.New(t, transporttest.Options{Uplink: true})
	var labels []string
	for i := range maxOtherChannels + 1 {
		labels = append(labels, strconv.Itoa(i))
	}
	openChannels(t, client, labels...)
	_, h := join(t, s, client)
	if err := transporttest.Receive(t, h.closed, "Closed"); !errors.Is(err, ErrProtocol) {
		t.Errorf("closed with %v", err)
	}
}

// A message is taken as it is, text or binary, up to the size that the answer says; a larger one
// ends the connection.
func TestMessagesOfClients(t *testing.T) {
	s := newServer(t)
	client := transporttest.New(t, transporttest.Options{Uplink: true, Data: true})
	_, h, answer := accept(t, s, client)
	limit := fmt.Sprintf("max-message-size:%d", maxReceive)
	if !bytes.Contains(answer, []byte(limit)) {
		t.Fatalf("the answer does not say %s", limit)
	}
	client.Answer(bytes.Replace(answer, []byte(limit), []byte("max-message-size:1000000"), 1)) // a client that ignores it
	transporttest.Receive(t, client.Opened, "the open channel")
	for _, message := range []string{"", strings.Repeat("\xff\x00", maxReceive/2)} {
		if err := client.Channel.Send([]byte(message)); err != nil {
			t.Fatal(err)
		}
		if got := transporttest.Receive(t, h.messages, "the message"); got != message {
			t.Errorf("got %d bytes, want %d", len(got), len(message))
		}
	}
	if err := client.Channel.Send(make([]byte, maxReceive+1)); err != nil {
		t.Fatal(err)
	}
	if err := transporttest.Receive(t, h.closed, "Closed"); !errors.Is(err, ErrProtocol) {
		t.Errorf("closed with %v", err)
	}
}

// slow takes one message, and no other before it is told to.
type slow struct {
	*recorder
	release chan struct{}
}

func (s slow) Data(msg []byte) {
	s.recorder.Data(msg)
	<-s.release
}

// A connection that is closed ends whatever its client has sent: the rest is not handed on.
func TestCloseDropsWhatWaits(t *testing.T) {
	s := newServer(t)
	client := transporttest.New(t, transporttest.Options{Uplink: true, Data: true})
	offer, err := ParseOffer(client.Offer())
	if err != nil {
		t.Fatal(err)
	}
	h := slow{newRecorder(), make(chan struct{})}
	c, answer, err := s.Accept(offer, h)
	if err != nil {
		t.Fatal(err)
	}
	client.Answer(answer)
	transporttest.Receive(t, client.Opened, "the open channel")
	for range 50 {
		if err := client.Channel.SendText("command"); err != nil {
			t.Fatal(err)
		}
	}
	transporttest.Receive(t, h.messages, "the first message")
	for client.Channel.BufferedAmount() > 0 { // until the server has the others
		time.Sleep(time.Millisecond)
	}
	c.Close(errors.New("kicked"))
	close(h.release)
	transporttest.Receive(t, h.closed, "Closed")
	if n := len(h.messages); n > 0 {
		t.Errorf("%d messages were handed on after the end", n)
	}
}
