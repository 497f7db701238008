package nats

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"voiceroom.dev/voiceroom/chat"
)

// How a subscription notices that the server forgot it, and the server a
// subscriber that is gone.
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
		defer st.dropFeed(feed)
		return follow(ctx, feed, deliver)
	})
	if ctx.Err() != nil {
		return nil // the caller ended it
	}
	return fmt.Errorf("subscribe: %w", classify(err))
}

// openFeed makes a consumer of the group's messages after a sequence. It is
// held in the server's memory, and needs no acknowledgements: a subscriber that
// comes back says where it was.
func (p *Provider) openFeed(ctx context.Context, st *store, id string, after uint64) (jetstream.Consumer, error) {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	defer cancel()
	if !validID(id) {
		return nil, chat.ErrNotFound
	}
	feed, err := st.js.CreateConsumer(ctx, st.names.messagesStream(), jetstream.ConsumerConfig{
		FilterSubject:     st.names.messages(id),
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       after + 1,
		AckPolicy:         jetstream.AckNonePolicy,
		MemoryStorage:     true,
		Replicas:          1,
		InactiveThreshold: abandoned,
	})
	if err != nil {
		return nil, err
	}
	// Only now: a group that is deleted after this leaves its mark in the feed.
	if _, _, err := st.group(ctx, id); err != nil {
		st.dropFeed(feed)
		return nil, err
	}
	return feed, nil
}

// follow delivers what the feed brings until ctx ends, the group's end is
// marked, or something is missing.
func follow(ctx context.Context, feed jetstream.Consumer, deliver func(chat.Message)) error {
	messages, err := feed.Messages(
		jetstream.PullHeartbeat(heartbeat),
		jetstream.WithMessagesErrOnMissingHeartbeat(true),
	)
	if err != nil {
		return err
	}
	defer messages.Stop()
	for next := uint64(1); ; next++ {
		msg, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return err
		}
		meta, err := msg.Metadata()
		if err != nil {
			return fmt.Errorf("message without metadata: %w", err)
		}
		if meta.Sequence.Consumer != next {
			return fmt.Errorf("%w: messages %d to %d were lost on the way", chat.ErrUnavailable, next, meta.Sequence.Consumer-1)
		}
		if msg.Headers().Get(endHeader) != "" {
			return chat.ErrNotFound
		}
		m, err := decodeMessage(meta.Sequence.Stream, msg.Data())
		if err != nil {
			return err
		}
		deliver(m)
	}
}

// dropFeed removes a consumer without waiting for it. The server would do so by
// itself once it is abandoned.
func (st *store) dropFeed(feed jetstream.Consumer) {
	call := "CONSUMER.DELETE." + st.names.messagesStream() + "." + feed.CachedInfo().Name
	_ = st.js.Conn().PublishRequest(jetstream.DefaultAPIPrefix+call, nats.NewInbox(), nil)
}
