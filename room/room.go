package room

import (
	"maps"
	"reflect"
	"slices"
	"time"
)

// How long places, turns of the queue and roles are kept.
const (
	ReservationTTL = 60 * time.Second // as long as the room token that goes with it
	GuestTTL       = 15 * time.Second
	ConnectTTL     = 20 * time.Second // from the offer to the media connection
	ConfirmTTL     = 60 * time.Second // from the media connection to Enter
	AwayTTL        = 30 * time.Second // a lost connection may come back
	HostGrace      = 60 * time.Second // the host may be away before another one takes its place
	HandTTL        = 10 * time.Minute
	AskTTL         = time.Minute
	StopAfter      = 15 * time.Minute // a pod without a lease stops itself
	// Outlived is when the pod of the epoch before has stopped itself, whatever it was told
	// last: a renewal may have been two minutes on its way.
	Outlived = StopAfter + 2*time.Minute
)

// Limits of what members and moderators write.
const (
	MaxName            = 128  // bytes of a display name
	MaxAnnouncement    = 1024 // bytes; of a CloseMessage too
	MaxMetadata        = 16   // entries
	MaxMetadataKey     = 64   // bytes
	MaxMetadataValue   = 256  // bytes
	MaxModerators      = 64
	MaxHandPriority    = 9
	MaxSpeakingSeconds = 24 * 60 * 60
	MaxRecords         = 4096 // remembered, and as many as are here; see records.go
)

// GuestPlaces is how many places one address can hold for guests that have not
// entered.
const GuestPlaces = 4

// Room is one voice room. It is not safe for concurrent use: one goroutine owns it.
type Room struct {
	state State

	bySession map[string]uint32 // current sessions and the ones that replace them
	bySubject map[string]uint32
	rejoining map[uint32]rejoin // by member
	origins   map[uint32]string // of guests that have not entered
	spent     spent
	freed     map[string]uint64 // the event by which a subject left that had entered, until it is durable

	lease     time.Time // strangers may come in until then
	strangers time.Time // and not before: the pod of the epoch before may live

	deadlines deadlines // all that stand, and some that do not any more
	passed    time.Time // until when time has passed

	now    time.Time // of the running command
	events []Event   // of the running command
}

// rejoin is a session that takes over a member's place once it is associated.
type rejoin struct {
	session  string
	deadline time.Time
	opened   bool
	name     string
	keys     []string
}

// New makes a room. With the last known state of the epoch before as seed, every
// member of it that had entered becomes a held place, and mics, mutes, hands, bans
// and settings go on.
func New(id ID, epoch uint64, spec Spec, seed *State, now time.Time) *Room {
	r := &Room{
		state:     State{ID: id, Epoch: epoch, Phase: Prepared, Settings: settingsOf(spec)},
		bySession: map[string]uint32{},
		bySubject: map[string]uint32{},
		rejoining: map[uint32]rejoin{},
		origins:   map[uint32]string{},
		freed:     map[string]uint64{},
		now:       now,
	}
	if seed == nil || seed.Settings.Spec == nil {
		for _, subject := range spec.Banned {
			r.remember(subject, func(rec *Record) { rec.Banned = true })
		}
	}
	if seed != nil {
		r.seed(seed, now)
		if spec.Generation >= r.state.Settings.Spec.Generation {
			r.follow(spec, now) // the same one, too: a pod of an earlier version did not know all of its fields
		}
		r.noteHost(now)
		r.noteEmpty()
		r.expectState()
	}
	if epoch > 1 {
		r.strangers = now.Add(Outlived)
	}
	r.passed = now
	// What was done so far is part of the snapshot that this epoch begins with.
	r.state.Seq, r.events = 0, nil
	clear(r.freed)
	return r
}

func settingsOf(s Spec) Settings {
	return Settings{Generation: s.Generation, DisplayName: s.DisplayName, MaxMembers: s.MaxMembers, MaxMics: s.MaxMics,
		Access: s.Access, MicPolicy: s.MicPolicy, Duplicates: s.Duplicates, Audience: s.Audience, MuteOnEntry: s.MuteOnEntry, SpeakingSeconds: s.SpeakingSeconds,
		Announcement: s.Announcement, Metadata: maps.Clone(s.Metadata),
		Owner: s.Owner, Host: s.Owner, Moderators: slices.Clone(s.Moderators), Spec: &s}
}

func (r *Room) seed(old *State, now time.Time) {
	s := &r.state
	s.ActivatedAt, s.EmptySince, s.LastMember, s.LastGrant = old.ActivatedAt, old.EmptySince, old.LastMember, old.LastGrant
	switch { // that the old epoch was sealed, or its owner about to enter, ended with it
	case old.Phase == Closed:
		s.Phase, s.CloseReason, s.CloseMessage = Closed, old.CloseReason, old.CloseMessage
	case old.ActivatedAt != nil:
		s.Phase = Opened
	}
	if old.Settings.Spec != nil {
		s.Settings = old.Settings // what moderators changed stays
	}
	s.Invites = slices.Clone(old.Invites)
	for _, rec := range old.Records {
		s.LastMember = max(s.LastMember, rec.Member)
		rec.Banned = rec.Banned || s.Record(rec.Subject).Banned
		s.Records = replace(s.Records, rec.Subject, rec, false, recordBySubject)
	}
	deadline := now.Add(Outlived)
	for _, m := range old.Members {
		s.LastMember = max(s.LastMember, m.ID)
		if rec := s.Record(m.Subject); !m.visible() || rec.Banned || rec.Kicked != nil {
			r.unuse(m)
			continue
		}
		m.Status, m.Session, m.Deadline, m.Keys = Held, "", &deadline, nil
		m.ChatMuted = s.Record(m.Subject).ChatMuted // records may be newer than the list of members
		if m.Entered == nil {                       // the list of members is all that was left of the epoch before
			m.Entered = &now
		}
		s.Members = append(s.Members, m)
		r.bySubject[m.Subject] = m.ID
	}
	for _, m := range old.Mics {
		s.LastGrant = max(s.LastGrant, m.Grant)
		if holder, ok := s.Member(m.Member); ok {
			m.ModMuted = s.Record(holder.Subject).Muted
			s.Mics = append(s.Mics, m)
		}
	}
}

// Do lets time pass until now and then applies one command. It returns the events that
// both caused, in order. A command that is refused, with an *Error, changed nothing; the
// events are then what the time before it caused. They are the caller's to keep.
func (r *Room) Do(now time.Time, by Actor, c Command) ([]Event, error) {
	r.now, r.events = now, nil
	r.pass(now)
	r.passed = now
	err := r.mayRun(by, c)
	if err == nil {
		err = c.apply(r, now, by)
	}
	r.noteHost(now)
	r.noteEmpty()
	r.trimDeadlines()
	for i := range len(r.events) - 1 {
		r.events[i].More = true
	}
	return r.events, err
}

// mayRun refuses what a client may never ask, and what a closed or sealed room no
// longer does.
func (r *Room) mayRun(by Actor, c Command) error {
	if by != Control && !clientCommands[reflect.TypeOf(c)] {
		return refuse(NotAllowed, "this command is not for clients")
	}
	switch r.state.Phase {
	case Closed:
		return refuse(RoomClosed, "the room has ended")
	case Sealed:
		switch c.(type) {
		case Lost, Leave, Fail, RevokeKeys, Tick, Seal, Close:
		default:
			return refuse(Moving, "the room has moved to another media pod; ask again")
		}
	}
	return nil
}

// State returns a copy of the whole state.
func (r *Room) State() *State { return r.state.Clone() }

// View returns the state itself: to be read only, and only until the next Do.
func (r *Room) View() *State { return &r.state }

// Knows says whether a session is current, or about to replace one that is. A
// connection whose session the room does not know is to be closed.
func (r *Room) Knows(session string) bool {
	_, ok := r.bySession[session]
	return ok
}

// Subject returns the member with this subject, without looking through all of them.
func (r *Room) Subject(subject string) (Member, bool) {
	if id, ok := r.bySubject[subject]; ok {
		return r.state.Member(id)
	}
	return Member{}, false
}

// Session returns the member that is connected, or may connect, with this session; not
// one that the session is about to take over.
func (r *Room) Session(session string) (Member, bool) {
	m, err := r.member(session)
	if err != nil || m.Session != session {
		return Member{}, false
	}
	return m, true
}

// emit numbers an event and makes the state follow it: a state changes by its
// events and in no other way.
func (r *Room) emit(e Event) {
	e.Epoch, e.Seq, e.Time = r.state.Epoch, r.state.Seq+1, r.now
	r.expectEvent(e)
	r.state.Apply(e)
	r.events = append(r.events, e)
}

func (r *Room) setMember(m Member) {
	r.emit(Event{Type: EventMember, Member: &m})
	r.remember(m.Subject, func(*Record) {}) // under its new name or number
}

func (r *Room) setMic(m Mic) { r.emit(Event{Type: EventMic, Mic: &m}) }

func (r *Room) setSettings(change func(*Settings)) {
	s := r.state.Settings
	change(&s)
	r.emit(Event{Type: EventSettings, Settings: &s})
}

func (r *Room) setSummary(change func(*Summary)) {
	s := r.state.summary()
	change(&s)
	r.emit(Event{Type: EventRoom, Room: &s})
}

// noteEmpty keeps EmptySince: since when an activated room has nobody in it.
func (r *Room) noteEmpty() {
	s := &r.state
	empty := s.ActivatedAt != nil && len(s.Members) == 0 && s.Phase != Closed
	switch {
	case empty && s.EmptySince == nil:
		now := r.now
		r.setSummary(func(s *Summary) { s.EmptySince = &now })
	case !empty && s.EmptySince != nil && s.Phase != Closed:
		r.setSummary(func(s *Summary) { s.EmptySince = nil })
	}
}

// remove takes a member out, with its microphone.
func (r *Room) remove(m Member, why Code) {
	r.dropMic(m.ID, why)
	delete(r.bySubject, m.Subject)
	delete(r.origins, m.ID)
	delete(r.bySession, m.Session)
	r.dropRejoin(m.ID)
	r.emit(Event{Type: EventLeft, Member: &m, Reason: why})
	if m.visible() {
		r.freed[m.Subject] = r.state.Seq
	}
	r.unuse(m)
	r.unopen(m)
}

// dropRejoin forgets the session that was to take over from a member's, if any.
func (r *Room) dropRejoin(member uint32) {
	if j, ok := r.rejoining[member]; ok {
		delete(r.rejoining, member)
		delete(r.bySession, j.session)
	}
}

// taker returns what is to take over a member's place, if it is this session.
func (r *Room) taker(m Member, session string) (rejoin, bool) {
	j, ok := r.rejoining[m.ID]
	return j, ok && j.session == session
}

// keepRejoin puts a session in line for a member's place, until its deadline.
func (r *Room) keepRejoin(m Member, j rejoin) {
	r.rejoining[m.ID] = j
	r.expect(&j.deadline, nil, deadline{member: m.ID})
}

// unopen takes the room back to Prepared when its owner goes before it was activated.
func (r *Room) unopen(m Member) {
	if m.Subject == r.state.Settings.Owner && r.state.ActivatedAt == nil && r.state.Phase == Opened {
		r.setSummary(func(s *Summary) { s.Phase = Prepared })
	}
}

// member returns the member that a session belongs to.
func (r *Room) member(session string) (Member, error) {
	if id, ok := r.bySession[session]; ok {
		if m, ok := r.state.Member(id); ok {
			return m, nil
		}
	}
	return Member{}, refuse(UnknownSession, "this session has ended or was replaced")
}

// commander returns the entered member that commands.
func (r *Room) commander(by Actor) (Member, error) {
	m, err := r.member(by.Session)
	if err != nil {
		return m, err
	}
	if m.Status != Entered || m.Session != by.Session {
		return m, refuse(NotEntered, "you have not entered the room")
	}
	return m, nil
}
