package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"voiceroom.dev/voiceroom/chat"
)

// messenger is the chat server with the room's one group. It may refuse members beyond a
// cap of its own, and may be away.
type messenger struct {
	*world
	host    *host
	state   chat.State
	members []string
	capped  bool // at what the room's spec says
}

const groupID = "group"

const chatTimeout = 3 * time.Second

// chatClient is the chat server for one process. What nobody here calls it does not have.
type chatClient struct {
	chat.Provider
	*messenger
	p *process
}

func (m *messenger) client(p *process) chat.Provider { return chatClient{messenger: m, p: p} }

func ask[T any](c chatClient, f func() (T, error)) (T, error) {
	v, err := call(c.p, c.network, c.host, chatTimeout, func(answer answer[T]) { answer(f()) })
	if errors.Is(err, errTimeout) || errors.Is(err, errRefused) {
		err = fmt.Errorf("%w: %w", chat.ErrUnavailable, err)
	}
	return v, err
}

func (c chatClient) Group(context.Context, string) (chat.Group, error) {
	return ask(c, func() (chat.Group, error) {
		return chat.Group{ID: groupID, State: c.state, Members: len(c.members)}, nil
	})
}

func (c chatClient) SetValid(context.Context, string) error {
	_, err := ask(c, func() (none, error) {
		c.state = chat.Valid
		c.check.validated()
		return none{}, nil
	})
	return err
}

func (c chatClient) AddMember(_ context.Context, _ string, m chat.Member) error {
	_, err := ask(c, func() (none, error) {
		switch {
		case slices.Contains(c.members, m.Subject):
		case c.capped && len(c.members) >= c.cluster.objects.room.spec.MaxMembers:
			return none{}, chat.ErrFull
		default:
			c.messenger.members = append(c.messenger.members, m.Subject)
			c.note("chat", "associated %s", m.Subject)
		}
		return none{}, nil
	})
	return err
}

func (c chatClient) RemoveMember(_ context.Context, _, subject string) error {
	_, err := ask(c, func() (none, error) {
		c.messenger.members = slices.DeleteFunc(c.members, func(s string) bool { return s == subject })
		c.note("chat", "removed %s", subject)
		return none{}, nil
	})
	return err
}

func (c chatClient) Members(context.Context, string) ([]chat.Member, error) {
	return ask(c, func() ([]chat.Member, error) {
		list := make([]chat.Member, len(c.members))
		for i, s := range c.members {
			list[i].Subject = s
		}
		return list, nil
	})
}
