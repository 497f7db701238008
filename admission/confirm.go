package admission

import (
	"context"
	"errors"
	"time"

	"voiceroom.dev/voiceroom/chat"
	"voiceroom.dev/voiceroom/room"
)

// Confirm lets a session enter whose media connection stands (steps 5 and 9): chat
// associates the client with the group, then the pod lets its audio flow and gives
// it a microphone if there is one for it. Repeating it changes nothing. Errors are
// *Error; a retryable one leaves the session associated for another try.
func (d *Desk) Confirm(ctx context.Context, r Room, session string) (Entered, error) {
	info, err := r.Pod.Session(ctx, r.Epoch, session)
	if err != nil {
		return Entered{}, FromPod("looking for a session", err)
	}
	m := info.Member
	switch m.Status {
	case room.Entered, room.Away:
		// Repeated, or resumed. If the latch was missed, and is again, the operator
		// moves it by the pod's activatedAt; nobody is kept out for it.
		e, activated := outcome(m, info.Mic, info.ActivatedAt)
		if activated {
			_ = setValid(ctx, r)
		}
		return e, nil
	case room.Associated:
	default:
		return Entered{}, &Error{Code: room.NotAssociated, Detail: "the media connection does not stand", Retryable: true}
	}
	if err := d.associate(ctx, r, m); err != nil {
		return Entered{}, err
	}
	result, err := r.command(ctx, room.Enter{Session: session})
	if err != nil {
		return Entered{}, undo(ctx, r, m.Subject, err)
	}
	if result.Member != nil {
		m = *result.Member
	}
	e, activated := outcome(m, result.Mic, result.ActivatedAt)
	if activated {
		if err := setValid(ctx, r); err != nil && !r.Degrade {
			return Entered{}, err
		}
	}
	return e, nil
}

// associate adds a member to the group. Where the group is known to have it
// already, chat is not needed.
func (d *Desk) associate(ctx context.Context, r Room, m room.Member) error {
	err := addMember(ctx, r, m)
	if errors.Is(err, &Error{Code: ChatFull}) {
		// A cap of chat's own counts for something only once the lists agree.
		if err = d.compare(ctx, r); err == nil {
			err = addMember(ctx, r, m)
		}
	}
	if err != nil && (r.Degrade || m.Entered != nil) {
		return nil
	}
	return err
}

func addMember(ctx context.Context, r Room, m room.Member) error {
	if r.Chat == nil {
		return ofChat("associating with the group", chat.ErrUnavailable)
	}
	ctx, cancel := context.WithTimeout(ctx, chatTimeout)
	defer cancel()
	if err := r.Chat.AddMember(ctx, r.ID.GroupID, chat.Member{Subject: m.Subject, Name: m.Name}); err != nil {
		return ofChat("associating with the group", err)
	}
	return nil
}

// undo ends an association whose session could not enter after all. The refusal
// is what the caller is told; an association left behind is Repair's.
func undo(ctx context.Context, r Room, subject string, refusal error) error {
	if errors.Is(refusal, &Error{Code: MediaUnavailable}) {
		return refusal // it may have entered
	}
	if err := align(ctx, r, subject); err != nil {
		if e, ok := errors.AsType[*Error](refusal); ok {
			return &Error{Code: e.Code, Detail: e.Detail, Retryable: e.Retryable, cause: err}
		}
	}
	return refusal
}

// outcome reads what a member that entered has, and whether it was its entering
// that activated the room.
func outcome(m room.Member, mic *room.Mic, activatedAt *time.Time) (e Entered, activated bool) {
	e = Entered{Member: m.ID, Role: m.Role}
	if mic != nil {
		e.Mic = &mic.Index
	}
	return e, activatedAt != nil && m.Entered != nil && m.Entered.Equal(*activatedAt)
}

func setValid(ctx context.Context, r Room) error {
	if r.Chat == nil {
		return ofChat("making the group valid", chat.ErrUnavailable)
	}
	ctx, cancel := context.WithTimeout(ctx, chatTimeout)
	defer cancel()
	if err := r.Chat.SetValid(ctx, r.ID.GroupID); err != nil {
		return ofChat("making the group valid", err)
	}
	return nil
}

// Failed releases at once the place of a session whose media connection did not
// come to stand. No error if there is no such session.
func (d *Desk) Failed(ctx context.Context, r Room, session string) error {
	return end(ctx, r, room.Fail{Session: session})
}

// Leave ends a session for good, and its association with the group. No error if
// there is no such session. An *Error of chat means that the client has left all
// the same, and that Repair has something to do.
func (d *Desk) Leave(ctx context.Context, r Room, session string) error {
	return end(ctx, r, room.Leave{Session: session})
}

func end(ctx context.Context, r Room, c room.Command) error {
	result, err := r.command(ctx, c)
	switch {
	case errors.Is(err, &Error{Code: room.UnknownSession}):
		return nil
	case err != nil:
		return err
	case result.Member == nil:
		return nil // it was about to take over a place; that one stays
	}
	err = align(ctx, r, result.Member.Subject)
	if err != nil && r.Degrade {
		return nil
	}
	return err
}
