package nats

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"voiceroom.dev/voiceroom/chat"
)

// endHeader marks the message that ends a deleted group's subscriptions. It
// lives for endTTL; a subscription cannot miss it, since one that loses its
// connection ends, and the next one finds no group.
const (
	endHeader = "Voiceroom-End"
	endTTL    = 10 * time.Minute
)

// messageRecord is a message as it is stored; the stream adds the sequence.
type messageRecord struct {
	Author string    `json:"author"`
	Name   string    `json:"name,omitempty"`
	Text   string    `json:"text"`
	Time   time.Time `json:"time"`
}

func (r messageRecord) message(seq uint64) chat.Message {
	return chat.Message{
		ID: strconv.FormatUint(seq, 10), Seq: seq,
		Author: r.Author, Name: r.Name, Text: r.Text, Time: r.Time,
	}
}

// Post implements chat.Provider.
func (p *Provider) Post(ctx context.Context, id string, m chat.Message) (chat.Message, error) {
	if err := m.Validate(); err != nil {
		return chat.Message{}, fmt.Errorf("post message: %w", err)
	}
	record := messageRecord{Author: m.Author, Name: m.Name, Text: m.Text, Time: p.now()}
	data, err := json.Marshal(record)
	if err != nil {
		return chat.Message{}, fmt.Errorf("post message: %w: %w", chat.ErrInvalid, err)
	}
	var posted chat.Message
	err = p.call(ctx, "post message", func(ctx context.Context, st *store) error {
		return st.inGroup(ctx, id, func() (func() error, error) {
			ack, err := st.js.Publish(ctx, st.names.messages(id), data)
			if err != nil {
				return nil, err
			}
			posted = record.message(ack.Sequence)
			return func() error {
				_, err := st.remove(ctx, st.names.messagesStream(), ack.Sequence)
				return err
			}, nil
		})
	})
	if err != nil {
		return chat.Message{}, err
	}
	return posted, nil
}

// History implements chat.Provider. JetStream reads forwards only, so it reads
// what the group has, at most Config.History messages, and keeps the last ones.
func (p *Provider) History(ctx context.Context, id string, before uint64, limit int) ([]chat.Message, error) {
	if limit < 0 {
		return nil, fmt.Errorf("read history: %w: limit %d is negative", chat.ErrInvalid, limit)
	}
	var newest []chat.Message
	err := p.call(ctx, "read history", func(ctx context.Context, st *store) error {
		if _, _, err := st.group(ctx, id); err != nil {
			return err
		}
		var err error
		newest, err = st.history(ctx, id, before, limit)
		return err
	})
	return newest, err
}

func (st *store) history(ctx context.Context, id string, before uint64, limit int) ([]chat.Message, error) {
	stream, subject := st.names.messagesStream(), st.names.messages(id)
	var items []item
	for from, newest := uint64(0), uint64(0); ; from = newest + 1 {
		latest, err := st.last(ctx, stream, subject)
		if isNotFound(err) {
			break
		}
		if err != nil {
			return nil, err
		}
		err = st.each(ctx, stream, subject, from, func(it item) bool {
			if before > 0 && it.seq >= before {
				newest = max(it.seq, latest.seq)
				return false
			}
			newest = it.seq
			if it.header.Get(endHeader) == "" {
				items = append(items, it)
			}
			return true
		})
		if err != nil {
			return nil, err
		}
		if newest >= latest.seq { // else the replica that answered lags behind the leader
			break
		}
	}
	items = items[max(0, len(items)-limit):]
	messages := make([]chat.Message, 0, len(items))
	for _, it := range items {
		m, err := decodeMessage(it.seq, it.data)
		if err != nil {
			return nil, err
		}
		messages = append(messages, m)
	}
	return messages, nil
}

func decodeMessage(seq uint64, data []byte) (chat.Message, error) {
	var r messageRecord
	if err := json.Unmarshal(data, &r); err != nil {
		return chat.Message{}, fmt.Errorf("decode message %d: %w", seq, err)
	}
	return r.message(seq), nil
}

// publishEnd tells subscribers that the group is deleted. What is stored below
// the returned sequence was posted before.
func (st *store) publishEnd(ctx context.Context, id string) (uint64, error) {
	msg := nats.NewMsg(st.names.messages(id))
	msg.Header.Set(endHeader, "deleted")
	ack, err := st.js.PublishMsg(ctx, msg, jetstream.WithMsgTTL(endTTL))
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}
