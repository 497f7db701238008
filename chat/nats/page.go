package nats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

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
const pageSize = 2000

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

// revised is a record with its revision.
type revised[T any] struct {
	record T
	rev    uint64
}

// list reads the records that match a subject with a wildcard. Which ones exist
// is the leader's word; they are read in pages from any replica, and those that
// it has not got yet one by one from the leader.
func list[T any](ctx context.Context, st *store, wildcard string) ([]revised[T], error) {
	missing, err := st.subjects(ctx, wildcard)
	if err != nil {
		return nil, err
	}
	items := make([]item, 0, len(missing))
	err = st.each(ctx, st.names.stateStream(), wildcard, 0, func(it item) bool {
		if missing[it.subject] { // else it was made after we asked, removed before, or seen already
			delete(missing, it.subject)
			items = append(items, it)
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	for subject := range missing {
		it, err := st.last(ctx, st.names.stateStream(), subject)
		if isNotFound(err) { // removed after we asked
			continue
		}
		if err != nil {
			return nil, err
		}
		items = append(items, it)
	}
	records := make([]revised[T], len(items))
	for i, it := range items {
		records[i].rev = it.seq
		if err := json.Unmarshal(it.data, &records[i].record); err != nil {
			return nil, fmt.Errorf("decode record %d: %w", it.seq, err)
		}
	}
	return records, nil
}
