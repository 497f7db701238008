package admission

import (
	"context"
	"errors"
	"slices"

	"voiceroom.dev/voiceroom/chat"
	"voiceroom.dev/voiceroom/room"
)

// rounds is how often a changed member is looked at again: each round follows
// what came in between, which for one subject is at most a rejoin.
const rounds = 3

// Repair makes the group's list agree with the pod's: members that the pod does not
// know are removed, those that entered and are missing are added. state is the
// pod's state as the caller knows it; nil asks the pod, after chat was asked, so
// that nobody who is just coming in is taken for a stranger. With a state and
// without a Pod (it is gone) the state is the last word. Errors are *Error.
func (d *Desk) Repair(ctx context.Context, r Room, state *room.State) error {
	if r.Chat == nil {
		return ofChat("listing the group's members", chat.ErrUnavailable)
	}
	members, err := r.Chat.Members(ctx, r.ID.GroupID)
	if err != nil {
		return ofChat("listing the group's members", err)
	}
	if state == nil {
		if state, err = r.state(ctx); err != nil {
			return err
		}
	}
	places := placesOf(state)
	listed := make(map[string]bool, len(members))
	var differ []string
	for _, m := range members {
		listed[m.Subject] = true
		if places.verdict(m.Subject) == remove {
			differ = append(differ, m.Subject)
		}
	}
	for subject, m := range places {
		if owed(m) && !listed[subject] {
			differ = append(differ, subject)
		}
	}
	return settle(ctx, r, places, differ)
}

// look asks the pod where these subjects are: for one, the whole room need not travel.
func (r Room) look(ctx context.Context, subjects []string) (places, error) {
	if len(subjects) != 1 {
		state, err := r.state(ctx)
		if err != nil {
			return nil, err
		}
		return placesOf(state), nil
	}
	info, err := r.Pod.Subject(ctx, r.Epoch, subjects[0])
	switch {
	case errors.Is(err, &room.Error{Code: room.UnknownMember}):
		return places{}, nil
	case err != nil:
		return nil, FromPod("looking for a member", err)
	}
	return places{subjects[0]: info.Member}, nil
}

// align makes the group agree with the pod about one subject.
func align(ctx context.Context, r Room, subject string) error {
	if r.Chat == nil {
		return ofChat("ending the association", chat.ErrUnavailable)
	}
	subjects := []string{subject}
	said, err := r.look(ctx, subjects)
	if err != nil {
		return err
	}
	return settle(ctx, r, said, subjects)
}

// settle applies to the group what the pod says of each subject. A subject may
// come back while it is being removed; so the pod is asked again afterwards, and
// whoever it then says otherwise of is settled anew.
func settle(ctx context.Context, r Room, said places, subjects []string) error {
	for round := 0; len(subjects) > 0; round++ {
		for _, s := range subjects {
			if err := apply(ctx, r, said, s); err != nil {
				return err
			}
		}
		if r.Pod == nil || round == rounds {
			return nil
		}
		says, err := r.look(ctx, subjects)
		if err != nil {
			return err
		}
		subjects = slices.DeleteFunc(subjects, func(s string) bool { return said.verdict(s) == says.verdict(s) })
		said = says
	}
	return nil
}

func apply(ctx context.Context, r Room, said places, subject string) error {
	switch said.verdict(subject) {
	case remove:
		if err := r.Chat.RemoveMember(ctx, r.ID.GroupID, subject); err != nil {
			return ofChat("removing a member from the group", err)
		}
	case add:
		m := chat.Member{Subject: subject, Name: said[subject].Name}
		if err := r.Chat.AddMember(ctx, r.ID.GroupID, m); err != nil {
			return ofChat("adding a member to the group", err)
		}
	}
	return nil
}

// places are the members of a pod's state by subject.
type places map[string]room.Member

func placesOf(s *room.State) places {
	p := make(places, len(s.Members))
	for _, m := range s.Members {
		p[m.Subject] = m
	}
	return p
}

// verdict is what a pod's state says of a subject's association.
type verdict int

const (
	remove verdict = iota // the pod does not know it
	wait                  // it is on its way in: Confirm will associate it
	add                   // the group must have it
)

func (p places) verdict(subject string) verdict {
	m, known := p[subject]
	switch {
	case !known:
		return remove
	case owed(m), m.Status == room.Associated:
		return add
	}
	return wait
}

// owed says that the group must have the member: it has entered, now or before.
func owed(m room.Member) bool {
	return m.Entered != nil || m.Status == room.Entered || m.Status == room.Away || m.Status == room.Held
}
