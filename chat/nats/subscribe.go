package nats

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"voiceroom.dev/voiceroom/chat"
)

// heartbeat is how often a feed that has nothing to say says so; one that misses
// two is lost. The server drops a feed whose subscriber is gone for abandoned.
const (
	heartbeat = 5 * time.Second
	abandoned = 30 * time.Second
)

// Subscribe implements chat.Provider. It ends with the connection that it began
// on: go on from the last Seq.
func (p *Provider) Subscribe(ctx context.Context, id string, after uint64, deliver func(chat.Message)) error {
	err := p.link.use(ctx, func(ctx context.Context, st *store) error {
		feed, err := p.openFeed(ctx, st, id, after)
		if err != nil {
			return err
		}
		defer feed.close()
		return feed.follow(ctx, deliver)
	})
	if ctx.Err() != nil {
		return nil // the caller ended it
	}
	return fmt.Errorf("subscribe: %w", classify(err))
}

// feed is a group's messages as the server pushes them, by a consumer that the
// server holds in memory. Nothing is acknowledged: a subscriber that comes back
// says where it was.
type feed struct {
	st       *store
	sub      *nats.Subscription
	consumer string
	next     uint64 // the sequence of the feed's next message, without gaps from 1
}

func (p *Provider) openFeed(ctx context.Context, st *store, id string, after uint64) (*feed, error) {
	if !validID(id) {
		return nil, chat.ErrNotFound
	}
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	defer cancel()
	sub, err := st.js.Conn().SubscribeSync(st.js.Conn().NewInbox())
	if err != nil {
		return nil, err
	}
	f := &feed{st: st, sub: sub, next: 1}
	consumer, err := st.js.CreatePushConsumer(ctx, st.names.messagesStream(), jetstream.ConsumerConfig{
		DeliverSubject:    sub.Subject,
		FilterSubject:     st.names.messages(id),
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       after + 1,
		AckPolicy:         jetstream.AckNonePolicy,
		IdleHeartbeat:     heartbeat,
		FlowControl:       true,
		MemoryStorage:     true,
		Replicas:          1,
		InactiveThreshold: abandoned,
	})
	if err == nil {
		f.consumer = consumer.CachedInfo().Name
		// Only now: a group that is deleted after this leaves its mark in the feed.
		_, _, err = st.group(ctx, id)
	}
	if err != nil {
		f.close()
		return nil, err
	}
	return f, nil
}

// close ends the feed without waiting for the server, which would also drop it
// by itself.
func (f *feed) close() {
	_ = f.sub.Unsubscribe() // fails only if the connection is closed
	if f.consumer == "" {
		return
	}
	call := "CONSUMER.DELETE." + f.st.names.messagesStream() + "." + f.consumer
	_ = f.st.js.Conn().PublishRequest(jetstream.DefaultAPIPrefix+call, nats.NewInbox(), nil)
}

// follow delivers what comes until ctx ends, the group's end is marked, or
// something is missing.
func (f *feed) follow(ctx context.Context, deliver func(chat.Message)) error {
	for {
		msg, err := f.receive(ctx)
		if err != nil {
			return err
		}
		if msg.Header.Get("Status") != "" {
			if err := f.control(msg); err != nil {
				return err
			}
			continue
		}
		meta, err := msg.Metadata()
		if err != nil {
			return fmt.Errorf("message without metadata: %w", err)
		}
		if err := f.expect(meta.Sequence.Consumer); err != nil {
			return err
		}
		f.next++
		if msg.Header.Get(endHeader) != "" {
			return chat.ErrNotFound
		}
		m, err := decodeMessage(meta.Sequence.Stream, msg.Data)
		if err != nil {
			return err
		}
		deliver(m)
	}
}

func (f *feed) receive(ctx context.Context) (*nats.Msg, error) {
	alive, cancel := context.WithTimeout(ctx, 2*heartbeat)
	defer cancel()
	msg, err := f.sub.NextMsgWithContext(alive)
	if err != nil && ctx.Err() == nil && alive.Err() != nil {
		return nil, errors.New("the feed's heartbeat stopped")
	}
	return msg, err
}

func (f *feed) expect(seq uint64) error {
	if seq != f.next {
		return fmt.Errorf("the feed is at message %d, expected %d: some were lost", seq, f.next)
	}
	return nil
}

// control handles what the server says besides messages: heartbeats, and
// requests to tell that we keep up.
func (f *feed) control(msg *nats.Msg) error {
	if status := msg.Header.Get("Status"); status != "100" {
		return fmt.Errorf("the feed ended: %s %s", status, msg.Header.Get("Description"))
	}
	if msg.Reply != "" {
		return msg.Respond(nil)
	}
	if stalled := msg.Header.Get("Nats-Consumer-Stalled"); stalled != "" {
		return f.st.js.Conn().Publish(stalled, nil)
	}
	if last := msg.Header.Get("Nats-Last-Consumer"); last != "" {
		seq, err := strconv.ParseUint(last, 10, 64)
		if err != nil {
			return fmt.Errorf("heartbeat: %w", err)
		}
		return f.expect(seq + 1)
	}
	return nil
}
