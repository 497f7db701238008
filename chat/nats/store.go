package nats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"voiceroom.dev/voiceroom/chat"
)

// store reads and writes records: the messages of the two streams. Where the
// client library offers a call it is used; counting and paging speak the
// JetStream API directly (ADR-1 and ADR-31 of nats-io/nats-architecture-and-design).
type store struct {
	js    jetstream.JetStream
	names names
}

// item is one stored message.
type item struct {
	seq     uint64
	subject string
	header  nats.Header
	data    []byte
}

// makeStreams creates the streams, or brings their settings up to date.
func (st *store) makeStreams(ctx context.Context, replicas int, history int64) error {
	common := jetstream.StreamConfig{
		Storage:     jetstream.FileStorage,
		Replicas:    replicas,
		AllowDirect: true, // needed by page
	}
	state := common
	state.Name = st.names.stateStream()
	state.Description = "voice rooms: chat groups and their members"
	state.Subjects = []string{st.names.check(), st.names.allGroups(), st.names.members("*")}
	state.MaxMsgsPerSubject = 1

	messages := common
	messages.Name = st.names.messagesStream()
	messages.Description = "voice rooms: chat messages"
	messages.Subjects = []string{st.names.messages("*")}
	messages.MaxMsgsPerSubject = history
	messages.AllowMsgTTL = true // for the mark that ends subscriptions

	for _, cfg := range []jetstream.StreamConfig{state, messages} {
		if _, err := st.js.CreateOrUpdateStream(ctx, cfg); err != nil {
			return fmt.Errorf("make stream %s: %w", cfg.Name, err)
		}
	}
	return nil
}

// put writes a record if its revision is still rev (0: it does not exist).
// conflict(err) tells that it is not.
func (st *store) put(ctx context.Context, subject string, rev uint64, record any) (uint64, error) {
	data, err := json.Marshal(record)
	if err != nil {
		return 0, fmt.Errorf("encode record: %w", err)
	}
	ack, err := st.js.Publish(ctx, subject, data, jetstream.WithExpectLastSequencePerSubject(rev))
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

// get reads a record and its revision from the stream's leader, or returns chat.ErrNotFound.
func (st *store) get(ctx context.Context, subject string, record any) (uint64, error) {
	it, err := st.last(ctx, st.names.stateStream(), subject)
	if err != nil {
		return 0, err
	}
	if err := json.Unmarshal(it.data, record); err != nil {
		return 0, fmt.Errorf("decode record: %w", err)
	}
	return it.seq, nil
}

// last returns the newest message on subject as the stream's leader has it.
func (st *store) last(ctx context.Context, stream, subject string) (item, error) {
	return st.message(ctx, stream, map[string]any{"last_by_subj": subject})
}

func (st *store) message(ctx context.Context, stream string, which map[string]any) (item, error) {
	var answer struct {
		Error   *jetstream.APIError `json:"error"`
		Message struct {
			Subject string `json:"subject"`
			Seq     uint64 `json:"seq"`
			Data    []byte `json:"data"`
		} `json:"message"`
	}
	err := st.api(ctx, "STREAM.MSG.GET."+stream, which, &answer)
	switch {
	case err != nil:
		return item{}, err
	case answer.Error != nil && answer.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return item{}, chat.ErrNotFound
	case answer.Error != nil:
		return item{}, answer.Error
	}
	return item{seq: answer.Message.Seq, subject: answer.Message.Subject, data: answer.Message.Data}, nil
}

// remove deletes the stored message seq, and reports whether it was still there.
func (st *store) remove(ctx context.Context, stream string, seq uint64) (bool, error) {
	var answer struct {
		Error *jetstream.APIError `json:"error"`
	}
	request := map[string]any{"seq": seq, "no_erase": true}
	if err := st.api(ctx, "STREAM.MSG.DELETE."+stream, request, &answer); err != nil {
		return false, err
	}
	if answer.Error == nil {
		return true, nil
	}
	// The server has several answers for what is deleted already, one of them the
	// code for any failure.
	if _, err := st.message(ctx, stream, map[string]any{"seq": seq}); isNotFound(err) {
		return false, nil
	}
	return false, answer.Error
}

// purge deletes all of stream's messages on subject below seq (0: all of them).
func (st *store) purge(ctx context.Context, stream, subject string, below uint64) error {
	var answer struct {
		Error *jetstream.APIError `json:"error"`
	}
	request := map[string]any{"filter": subject}
	if below > 0 {
		request["seq"] = below
	}
	if err := st.api(ctx, "STREAM.PURGE."+stream, request, &answer); err != nil {
		return err
	}
	if answer.Error != nil {
		return answer.Error
	}
	return nil
}

// count returns how many records match a subject with a wildcard, by the
// stream's leader. The server lists them if asked from offset 0; an offset past
// the end leaves the total.
func (st *store) count(ctx context.Context, wildcard string) (int, error) {
	info, err := st.matching(ctx, wildcard, 1<<30)
	return info.Total, err
}

// subjects returns the subjects of the records that match, by the stream's leader.
func (st *store) subjects(ctx context.Context, wildcard string) (map[string]bool, error) {
	found := map[string]bool{}
	for offset := 0; ; {
		info, err := st.matching(ctx, wildcard, offset)
		if err != nil {
			return nil, err
		}
		for subject := range info.State.Subjects {
			found[subject] = true
		}
		offset += len(info.State.Subjects)
		if len(info.State.Subjects) == 0 || offset >= info.Total {
			return found, nil
		}
	}
}

type streamInfo struct {
	Error *jetstream.APIError `json:"error"`
	Total int                 `json:"total"`
	State struct {
		Subjects map[string]uint64 `json:"subjects"`
	} `json:"state"`
}

func (st *store) matching(ctx context.Context, wildcard string, offset int) (streamInfo, error) {
	var info streamInfo
	request := map[string]any{"subjects_filter": wildcard, "offset": offset}
	if err := st.api(ctx, "STREAM.INFO."+st.names.stateStream(), request, &info); err != nil {
		return streamInfo{}, err
	}
	if info.Error != nil {
		return streamInfo{}, info.Error
	}
	return info, nil
}

// api calls $JS.API.<call>.
func (st *store) api(ctx context.Context, call string, request, answer any) error {
	msg, err := st.request(ctx, call, request)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(msg.Data, answer); err != nil {
		return fmt.Errorf("decode answer to %s: %w", call, err)
	}
	return nil
}

func (st *store) request(ctx context.Context, call string, request any) (*nats.Msg, error) {
	data, err := json.Marshal(request)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", call, err)
	}
	msg, err := st.js.Conn().RequestWithContext(ctx, jetstream.DefaultAPIPrefix+call, data)
	if errors.Is(err, nats.ErrNoResponders) {
		// JetStream answers for streams that it has; nobody does for one that is gone.
		return nil, fmt.Errorf("%w: %w", jetstream.ErrNoStreamResponse, err)
	}
	return msg, err
}
