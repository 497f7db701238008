package nats

import (
	"context"
	"fmt"
	"strings"
	"time"

	"voiceroom.dev/voiceroom/chat"
)

// groupRecord is a group as it is stored. Members are records of their own.
type groupRecord struct {
	ID        string     `json:"id"`
	Key       string     `json:"key"`
	Name      string     `json:"name,omitempty"`
	Owner     string     `json:"owner,omitempty"`
	State     chat.State `json:"state"`
	CreatedAt time.Time  `json:"createdAt"`
	chat.Limits
	Sealed bool `json:"sealed,omitempty"` // being deleted; gone for everybody else
}

func (r groupRecord) group(members int) chat.Group {
	return chat.Group{
		ID: r.ID, Key: r.Key, Name: r.Name, Owner: r.Owner, State: r.State,
		Limits: r.Limits, Members: members, CreatedAt: r.CreatedAt,
	}
}

// CreateGroup implements chat.Provider.
func (p *Provider) CreateGroup(ctx context.Context, key string, spec chat.GroupSpec) (chat.Group, error) {
	if err := chat.ValidateKey(key); err != nil {
		return chat.Group{}, fmt.Errorf("create group: %w", err)
	}
	if err := spec.Validate(); err != nil {
		return chat.Group{}, fmt.Errorf("create group: %w", err)
	}
	id, err := newID(key, p.cfg.Rand)
	if err != nil {
		return chat.Group{}, fmt.Errorf("create group: %w: %w", chat.ErrUnavailable, err)
	}
	fresh := groupRecord{
		ID: id, Key: key, Name: spec.Name, Owner: spec.Owner,
		State: chat.Invalid, Limits: spec.Limits, CreatedAt: p.now(),
	}
	var made chat.Group
	err = p.call(ctx, "create group", func(ctx context.Context, st *store) error {
		made, err = st.createGroup(ctx, fresh)
		return err
	})
	return made, err
}

// createGroup writes fresh, unless a group with its key exists: then it returns that.
func (st *store) createGroup(ctx context.Context, fresh groupRecord) (chat.Group, error) {
	subject := st.names.group(fresh.Key)
	for {
		_, err := st.put(ctx, subject, 0, fresh)
		if err == nil {
			return fresh.group(0), nil
		}
		if !conflict(err) {
			return chat.Group{}, err
		}
		var there groupRecord
		rev, err := st.get(ctx, subject, &there)
		switch {
		case isNotFound(err): // deleted in between
			continue
		case err != nil:
			return chat.Group{}, err
		case there.Sealed:
			if err := st.dissolve(ctx, there, rev); err != nil {
				return chat.Group{}, err
			}
			continue
		}
		return st.counted(ctx, there)
	}
}

// Group implements chat.Provider.
func (p *Provider) Group(ctx context.Context, id string) (chat.Group, error) {
	var found chat.Group
	err := p.call(ctx, "get group", func(ctx context.Context, st *store) error {
		record, _, err := st.group(ctx, id)
		if err != nil {
			return err
		}
		found, err = st.counted(ctx, record)
		return err
	})
	return found, err
}

// ListGroups implements chat.Provider. It reads every group's record, since
// keys are hashed, and goes on with deletions that were cut short.
func (p *Provider) ListGroups(ctx context.Context, prefix string) ([]chat.Group, error) {
	var groups []chat.Group
	err := p.call(ctx, "list groups", func(ctx context.Context, st *store) error {
		records, err := list[groupRecord](ctx, st, st.names.allGroups())
		if err != nil {
			return err
		}
		groups = make([]chat.Group, 0, len(records))
		for _, r := range records {
			if !strings.HasPrefix(r.record.Key, prefix) {
				continue
			}
			if r.record.Sealed {
				if err := st.dissolve(ctx, r.record, r.rev); err != nil {
					return err
				}
				continue
			}
			g, err := st.counted(ctx, r.record)
			if err != nil {
				return err
			}
			groups = append(groups, g)
		}
		return nil
	})
	return groups, err
}

// SetValid implements chat.Provider.
func (p *Provider) SetValid(ctx context.Context, id string) error {
	return p.call(ctx, "set group valid", func(ctx context.Context, st *store) error {
		return st.changeGroup(ctx, id, func(r *groupRecord) { r.State = chat.Valid })
	})
}

// SetLimits implements chat.Provider.
func (p *Provider) SetLimits(ctx context.Context, id string, limits chat.Limits) error {
	if err := limits.Validate(); err != nil {
		return fmt.Errorf("set limits: %w", err)
	}
	return p.call(ctx, "set limits", func(ctx context.Context, st *store) error {
		return st.changeGroup(ctx, id, func(r *groupRecord) { r.Limits = limits })
	})
}

// DeleteGroup implements chat.Provider.
func (p *Provider) DeleteGroup(ctx context.Context, id string) error {
	return p.call(ctx, "delete group", func(ctx context.Context, st *store) error {
		if !validID(id) {
			return nil // we never made it
		}
		for {
			record, rev, err := st.groupRecord(ctx, id)
			if isNotFound(err) {
				return nil
			}
			if err != nil {
				return err
			}
			if !record.Sealed {
				record.Sealed = true
				if rev, err = st.put(ctx, st.names.groupByID(id), rev, record); conflict(err) {
					continue
				} else if err != nil {
					return err
				}
			}
			return st.dissolve(ctx, record, rev)
		}
	})
}

// dissolve takes away all that a sealed group has, its record last. It may run
// any number of times, also at once.
func (st *store) dissolve(ctx context.Context, sealed groupRecord, rev uint64) error {
	messages := st.names.messages(sealed.ID)
	mark, err := st.publishEnd(ctx, sealed.ID)
	if err != nil {
		return fmt.Errorf("end subscriptions: %w", err)
	}
	if err := st.purge(ctx, st.names.messagesStream(), messages, mark); err != nil {
		return fmt.Errorf("purge messages: %w", err)
	}
	if err := st.purge(ctx, st.names.stateStream(), st.names.members(sealed.ID), 0); err != nil {
		return fmt.Errorf("purge members: %w", err)
	}
	if _, err := st.remove(ctx, st.names.stateStream(), rev); err != nil {
		return fmt.Errorf("remove group: %w", err)
	}
	return nil
}

// changeGroup applies change to a group's record by compare-and-set.
func (st *store) changeGroup(ctx context.Context, id string, change func(*groupRecord)) error {
	for {
		record, rev, err := st.group(ctx, id)
		if err != nil {
			return err
		}
		changed := record
		change(&changed)
		if changed == record {
			return nil
		}
		if _, err = st.put(ctx, st.names.groupByID(id), rev, changed); !conflict(err) {
			return err
		}
	}
}

// group returns the record of a group that exists and is not being deleted.
func (st *store) group(ctx context.Context, id string) (groupRecord, uint64, error) {
	record, rev, err := st.groupRecord(ctx, id)
	if err == nil && record.Sealed {
		return groupRecord{}, 0, chat.ErrNotFound
	}
	return record, rev, err
}

// groupRecord returns the record of a group, sealed or not.
func (st *store) groupRecord(ctx context.Context, id string) (groupRecord, uint64, error) {
	if !validID(id) {
		return groupRecord{}, 0, chat.ErrNotFound
	}
	var record groupRecord
	rev, err := st.get(ctx, st.names.groupByID(id), &record)
	if err != nil {
		return groupRecord{}, 0, err
	}
	if record.ID != id { // the key's group was deleted and made anew
		return groupRecord{}, 0, chat.ErrNotFound
	}
	return record, rev, nil
}

func (st *store) counted(ctx context.Context, r groupRecord) (chat.Group, error) {
	n, err := st.count(ctx, st.names.members(r.ID))
	return r.group(n), err
}

// inGroup runs write in a group. A group that is deleted meanwhile may already
// have been purged when write lands, so what was written is then undone.
func (st *store) inGroup(ctx context.Context, id string, write func() (undo func() error, err error)) error {
	if _, _, err := st.group(ctx, id); err != nil {
		return err
	}
	undo, err := write()
	if err != nil || undo == nil {
		return err
	}
	_, _, err = st.group(ctx, id)
	if isNotFound(err) {
		if err := undo(); err != nil {
			return fmt.Errorf("undo in a deleted group: %w", err)
		}
	}
	return err
}

// now is the time that is stored, without what JSON would not give back.
func (p *Provider) now() time.Time { return p.cfg.Now().UTC().Truncate(time.Millisecond) }
