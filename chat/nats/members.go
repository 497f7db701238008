package nats

import (
	"context"
	"fmt"
	"time"

	"voiceroom.dev/voiceroom/chat"
)

// memberRecord is a member as it is stored.
type memberRecord struct {
	Subject  string    `json:"subject"`
	Name     string    `json:"name,omitempty"`
	JoinedAt time.Time `json:"joinedAt"`
}

// AddMember implements chat.Provider. A new Name replaces the old one.
func (p *Provider) AddMember(ctx context.Context, id string, m chat.Member) error {
	if err := m.Validate(); err != nil {
		return fmt.Errorf("add member: %w", err)
	}
	fresh := memberRecord{Subject: m.Subject, Name: m.Name, JoinedAt: p.now()}
	return p.call(ctx, "add member", func(ctx context.Context, st *store) error {
		return st.inGroup(ctx, id, func() (func() error, error) {
			rev, err := st.addMember(ctx, st.names.member(id, m.Subject), fresh)
			if err != nil || rev == 0 {
				return nil, err
			}
			return func() error {
				_, err := st.remove(ctx, st.names.stateStream(), rev)
				return err
			}, nil
		})
	})
}

// addMember returns the revision that it wrote, or 0 if there was nothing to write.
func (st *store) addMember(ctx context.Context, subject string, fresh memberRecord) (uint64, error) {
	for {
		written, err := st.put(ctx, subject, 0, fresh)
		if !conflict(err) {
			return written, err
		}
		var there memberRecord
		rev, err := st.get(ctx, subject, &there)
		switch {
		case isNotFound(err): // removed in between
			continue
		case err != nil:
			return 0, err
		case there.Name == fresh.Name:
			return 0, nil
		}
		there.Name = fresh.Name
		if written, err = st.put(ctx, subject, rev, there); !conflict(err) {
			return written, err
		}
	}
}

// RemoveMember implements chat.Provider.
func (p *Provider) RemoveMember(ctx context.Context, id, subject string) error {
	if err := chat.ValidateSubject(subject); err != nil {
		return fmt.Errorf("remove member: %w", err)
	}
	return p.call(ctx, "remove member", func(ctx context.Context, st *store) error {
		if _, _, err := st.group(ctx, id); err != nil {
			return err
		}
		for {
			var there memberRecord
			rev, err := st.get(ctx, st.names.member(id, subject), &there)
			if isNotFound(err) {
				return nil
			}
			if err != nil {
				return err
			}
			// A revision that is gone was replaced or removed by someone else: look again.
			removed, err := st.remove(ctx, st.names.stateStream(), rev)
			if err != nil || removed {
				return err
			}
		}
	})
}

// Members implements chat.Provider.
func (p *Provider) Members(ctx context.Context, id string) ([]chat.Member, error) {
	var members []chat.Member
	err := p.call(ctx, "list members", func(ctx context.Context, st *store) error {
		if _, _, err := st.group(ctx, id); err != nil {
			return err
		}
		records, err := list[memberRecord](ctx, st, st.names.members(id))
		if err != nil {
			return err
		}
		members = make([]chat.Member, 0, len(records))
		for _, r := range records {
			members = append(members, chat.Member(r.record))
		}
		return nil
	})
	return members, err
}
