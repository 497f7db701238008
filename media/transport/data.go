package transport

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/pion/datachannel"
	"github.com/pion/dtls/v3"
	"github.com/pion/sctp"
)

const (
	// maxBacklog bounds what is queued for a client's data channel, in bytes.
	maxBacklog = 256 << 10
	// DataChannelLabel is the label of the one data channel; others are closed.
	DataChannelLabel = "room"

	sctpReceiveBuffer = 64 << 10
	// usualMessage is the largest message of most clients, in bytes; who sends a larger one gets a larger buffer.
	usualMessage = 1 << 10
	// maxOtherChannels is how many channels of other labels a client may open before the right one.
	maxOtherChannels = 8
)

// data is the data channel and, until it is open, the messages that wait for it.
type data struct {
	wanted  bool
	largest int // message, in bytes

	mu      sync.Mutex
	channel *datachannel.DataChannel
	waiting [][]byte
	bytes   int // in waiting
	ended   bool
}

func (q *data) init(o *Offer) { q.wanted, q.largest = o.HasData(), o.maxMessage }

// Send queues one text message for the data channel; before the channel is open it waits for that.
// It never blocks and does not keep msg. With ErrBacklog nothing was queued: the client is too slow
// for events, and should be sent a snapshot once Buffered is small again.
func (c *Conn) Send(msg []byte) error {
	q := &c.data
	switch {
	case !q.wanted:
		return ErrNoDataChannel
	case len(msg) > q.largest:
		return ErrMessageTooLarge
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.ended || c.closed.Load():
		return ErrClosed
	case q.buffered()+len(msg) > maxBacklog:
		return ErrBacklog
	case q.channel == nil:
		q.waiting = append(q.waiting, append([]byte(nil), msg...))
		q.bytes += len(msg)
		return nil
	}
	return q.write(msg)
}

// Buffered is how many bytes are queued and not yet acknowledged by the client.
func (c *Conn) Buffered() int {
	c.data.mu.Lock()
	defer c.data.mu.Unlock()
	return c.data.buffered()
}

func (q *data) buffered() int {
	if q.channel == nil {
		return q.bytes
	}
	return int(q.channel.BufferedAmount())
}

func (q *data) write(msg []byte) error {
	if _, err := q.channel.WriteDataChannel(msg, true); err != nil {
		return fmt.Errorf("send on the data channel: %w", err)
	}
	return nil
}

// open sends what waited for the channel.
func (q *data) open(channel *datachannel.DataChannel) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.channel = channel
	for _, msg := range q.waiting {
		if err := q.write(msg); err != nil {
			return err
		}
	}
	q.waiting, q.bytes = nil, 0
	return nil
}

func (q *data) end() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ended, q.waiting, q.bytes = true, nil, 0
}

// serveData accepts the data channel and reads it until the connection ends.
func (c *Conn) serveData(d *dtls.Conn) error {
	defer c.data.end()
	association, err := sctp.ServerWithOptions(
		sctp.WithNetConn(d),
		sctp.WithMaxReceiveBufferSize(sctpReceiveBuffer),
		sctp.WithMaxMessageSize(maxBacklog),
		sctp.WithEnableZeroChecksum(true), // DTLS protects integrity (RFC 9653)
		sctp.WithLoggerFactory(quiet),
	)
	if err != nil {
		return ended(err)
	}
	defer func() { _ = association.Close() }()
	channel, err := acceptChannel(association)
	if err != nil {
		return err
	}
	if err := c.data.open(channel); err != nil {
		return ended(err)
	}
	buf := make([]byte, usualMessage)
	for !c.closed.Load() { // what was received before the end may still wait to be read, slowly
		n, _, err := channel.ReadDataChannel(buf)
		switch {
		case errors.Is(err, io.ErrShortBuffer) && len(buf) < maxReceive:
			buf = make([]byte, 2*len(buf)) // the message waits
			continue
		case errors.Is(err, io.ErrShortBuffer):
			return fmt.Errorf("%w: a message has more than %d bytes", ErrProtocol, maxReceive)
		case err != nil:
			return ended(err)
		}
		c.handler.Data(buf[:n])
	}
	return ErrClosed
}

// acceptChannel waits for the channel "room" and closes any other. Later ones are never accepted: the
// association drops them.
func acceptChannel(association *sctp.Association) (*datachannel.DataChannel, error) {
	for range maxOtherChannels + 1 {
		channel, err := datachannel.Accept(association, &datachannel.Config{LoggerFactory: quiet})
		if err != nil {
			return nil, ended(err)
		}
		if channel.Label == DataChannelLabel {
			return channel, nil
		}
		if err := channel.Close(); err != nil && !errors.Is(err, sctp.ErrStreamClosed) {
			return nil, ended(err)
		}
	}
	return nil, fmt.Errorf("%w: it opens data channels without end", ErrProtocol)
}
