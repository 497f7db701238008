package nats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

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
	var answer struct {
		Error   *jetstream.APIError `json:"error"`
		Message struct {
			Seq  uint64 `json:"seq"`
			Data []byte `json:"data"`
		} `json:"message"`
	}
	request := map[string]any{"last_by_subj": subject}
	err := st.api(ctx, "STREAM.MSG.GET."+st.names.stateStream(), request, &answer)
	switch {
	case err != nil:
		return 0, err
	case answer.Error != nil && answer.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return 0, chat.ErrNotFound
	case answer.Error != nil:
		return 0, answer.Error
	}
	if err := json.Unmarshal(answer.Message.Data, record); err != nil {
		return 0, fmt.Errorf("decode record: %w", err)
	}
	return answer.Message.Seq, nil
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
	if answer.Error != nil {
		if answer.Error.ErrorCode == errCodeSequenceNotFound || answer.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound {
			return false, nil
		}
		return false, answer.Error
	}
	return true, nil
}

// errCodeSequenceNotFound answers the deletion of what is already deleted.
const errCodeSequenceNotFound = 10043

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

// count returns how many records match a subject with a wildcard. The server
// lists them if asked from offset 0; an offset past the end leaves the total.
func (st *store) count(ctx context.Context, subjects string) (int, error) {
	var answer struct {
		Error *jetstream.APIError `json:"error"`
		Total int                 `json:"total"`
	}
	request := map[string]any{"subjects_filter": subjects, "offset": 1 << 30}
	if err := st.api(ctx, "STREAM.INFO."+st.names.stateStream(), request, &answer); err != nil {
		return 0, err
	}
	if answer.Error != nil {
		return 0, answer.Error
	}
	return answer.Total, nil
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

// each calls yield for every message of stream that matches subject, from
// sequence from on, in ascending order, until yield returns false.
func (st *store) each(ctx context.Context, stream, subject string, from uint64, yield func(item) bool) error {
	for {
		last, more, err := st.page(ctx, stream, subject, from, yield)
		if err != nil || !more {
			return err
		}
		from = last + 1
	}
}

// pageSize bounds what the server sends in one go.
const pageSize = 500

// page reads up to pageSize messages by a batched direct get. more tells that
// there are others after last.
func (st *store) page(ctx context.Context, stream, subject string, from uint64, yield func(item) bool) (last uint64, more bool, err error) {
	conn := st.js.Conn()
	sub, err := conn.SubscribeSync(conn.NewInbox())
	if err != nil {
		return 0, false, err
	}
	defer func() { err = errors.Join(err, ignoreClosed(sub.Unsubscribe())) }()
	request, err := json.Marshal(map[string]any{"seq": max(from, 1), "next_by_subj": subject, "batch": pageSize})
	if err != nil {
		return 0, false, err
	}
	if err := conn.PublishRequest(jetstream.DefaultAPIPrefix+"DIRECT.GET."+stream, sub.Subject, request); err != nil {
		return 0, false, err
	}
	wanted := true
	for {
		msg, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return last, false, err
		}
		if status := msg.Header.Get("Status"); status != "" {
			more, err := endOfPage(status, msg)
			return last, more && wanted, err
		}
		if last, err = strconv.ParseUint(msg.Header.Get(jetstream.SequenceHeader), 10, 64); err != nil {
			return 0, false, fmt.Errorf("direct get without a sequence: %w", err)
		}
		wanted = wanted && yield(item{seq: last, subject: msg.Header.Get(jetstream.SubjectHeader), header: msg.Header, data: msg.Data})
	}
}

// endOfPage reads the status that follows the messages of a page.
func endOfPage(status string, msg *nats.Msg) (more bool, err error) {
	switch status {
	case "204": // end of batch
		pending := msg.Header.Get("Nats-Num-Pending")
		return pending != "" && pending != "0", nil
	case "404": // nothing matches
		return false, nil
	case "503":
		return false, nats.ErrNoResponders
	}
	return false, fmt.Errorf("direct get: status %s %s", status, msg.Header.Get("Description"))
}

// ignoreClosed drops the error of tidying up after the connection is closed.
func ignoreClosed(err error) error {
	if errors.Is(err, nats.ErrConnectionClosed) || errors.Is(err, nats.ErrBadSubscription) {
		return nil
	}
	return err
}
