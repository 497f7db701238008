package room

import (
	"slices"
	"time"
)

// Role of a member.
type Role string

// Roles, by falling power.
const (
	Host     Role = "host"
	CoHost   Role = "co-host"
	Speaker  Role = "speaker"
	Audience Role = "audience"
)

// moderates says whether the role may command others.
func (r Role) moderates() bool { return r == Host || r == CoHost }

// Access says who may join.
type Access string

// Access values, spelled as in the VoiceRoom resource.
const (
	Public     Access = "Public"
	InviteOnly Access = "InviteOnly"
	Locked     Access = "Locked"
)

// MicPolicy says how microphones are given.
type MicPolicy string

// Microphone policies, spelled as in the VoiceRoom resource.
const (
	Auto      MicPolicy = "Auto"
	OnRequest MicPolicy = "OnRequest"
	Appointed MicPolicy = "Appointed"
)

// Phase of a room in its pod.
type Phase string

// Phases.
const (
	Prepared Phase = "Prepared" // waits for its owner's first association
	Opened   Phase = "Open"     // the owner associated: the room exists
	Sealed   Phase = "Sealed"   // fenced by a higher epoch: takes no commands, admits nobody
	Closed   Phase = "Closed"   // ended
)

// Status of a member, in the order in which a client passes through.
type Status string

// Member statuses. All of them count against MaxMembers.
const (
	Reserved   Status = "reserved"   // has a place and a token
	Connecting Status = "connecting" // spent the token
	Associated Status = "associated" // media connection stands; no audio yet
	Entered    Status = "entered"    // chat took it in; audio flows
	Away       Status = "away"       // connection lost; place, mic and role kept for a grace
	Held       Status = "held"       // was in the epoch before; place kept for its subject
)

// ID names a room and its group. It never changes.
type ID struct {
	UID       string `json:"uid"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	GroupID   string `json:"groupID"`
}

// Spec is the intent: where the room starts, and what later edits change.
type Spec struct {
	Generation  int64     `json:"generation"`
	DisplayName string    `json:"displayName,omitempty"`
	Owner       string    `json:"owner"`
	MaxMembers  int       `json:"maxMembers"`
	MaxMics     int       `json:"maxMics"`
	Access      Access    `json:"access"`
	MicPolicy   MicPolicy `json:"micPolicy"`
	Moderators  []string  `json:"moderators,omitempty"`
	Banned      []string  `json:"banned,omitempty"`
}

// Settings are the room's values now: the spec's, and what moderators changed since.
type Settings struct {
	Generation  int64     `json:"generation"` // of the newest spec that was applied
	DisplayName string    `json:"displayName,omitempty"`
	Owner       string    `json:"owner,omitempty"`
	MaxMembers  int       `json:"maxMembers"`
	MaxMics     int       `json:"maxMics"`
	Access      Access    `json:"access"`
	MicPolicy   MicPolicy `json:"micPolicy"`
	Moderators  []string  `json:"moderators,omitempty"`
	Banned      []string  `json:"banned,omitempty"` // the spec's and the moderators'
	// Spec is the intent that was applied last: what the next one is compared with, also
	// in the next epoch. Nil: not known.
	Spec *Spec `json:"spec,omitempty"`
	// Kicked is when subjects were thrown out who were not invited again. It is replaced, never changed.
	Kicked map[string]time.Time `json:"kicked,omitempty"`
}

// Member is one client in the room.
type Member struct {
	ID       uint32     `json:"id"` // the CSRC of its audio; never used twice in a room's epoch
	Subject  string     `json:"subject,omitempty"`
	Session  string     `json:"session,omitempty"`
	Name     string     `json:"name,omitempty"`
	Role     Role       `json:"role"`
	Status   Status     `json:"status"`
	HandAt   *time.Time `json:"handAt,omitempty"`   // raised since
	Deadline *time.Time `json:"deadline,omitempty"` // the place is released then
	Entered  *time.Time `json:"enteredAt,omitempty"`
}

// Mic is one virtual microphone. One exists for each holder.
type Mic struct {
	Index    int    `json:"index"`
	Member   uint32 `json:"member"`          // 0: nobody holds it (it is gone)
	Grant    uint64 `json:"grant"`           // grows with every grant in the room; fences the forwarding path
	Muted    bool   `json:"muted,omitempty"` // by its holder
	ModMuted bool   `json:"modMuted,omitempty"`
}

// Live says whether the holder's audio may be forwarded.
func (m Mic) Live() bool { return m.Member != 0 && !m.Muted && !m.ModMuted }

// State is a whole room at one version. Control callers get it as it is; clients
// get Public.
type State struct {
	ID          ID         `json:"id"`
	Epoch       uint64     `json:"epoch"`
	Seq         uint64     `json:"seq"` // of the last event within the epoch
	Phase       Phase      `json:"phase"`
	Settings    Settings   `json:"settings"`
	Members     []Member   `json:"members"` // by ID
	Mics        []Mic      `json:"mics"`    // by index, held ones only
	ActivatedAt *time.Time `json:"activatedAt,omitempty"`
	EmptySince  *time.Time `json:"emptySince,omitempty"` // nobody at all is in the room
	CloseReason string     `json:"closeReason,omitempty"`
}

// EventType says which fields of an Event are set.
type EventType string

// Event types.
const (
	EventSettings EventType = "settings" // Settings
	EventMember   EventType = "member"   // Member: new, or its new value
	EventLeft     EventType = "left"     // Member: who left; Reason
	EventMic      EventType = "mic"      // Mic: its new value; Member 0: gone
	EventRoom     EventType = "room"     // Room; when it closed, members and mics are gone with it
)

// Event is one change of a room.
type Event struct {
	Epoch    uint64    `json:"epoch"`
	Seq      uint64    `json:"seq"`
	Time     time.Time `json:"time"`
	Type     EventType `json:"type"`
	Settings *Settings `json:"settings,omitempty"`
	Member   *Member   `json:"member,omitempty"`
	Mic      *Mic      `json:"mic,omitempty"`
	Room     *Summary  `json:"room,omitempty"`
	Reason   Code      `json:"reason,omitempty"` // why somebody left or lost a mic
}

// Summary is the part of a State that EventRoom replaces.
type Summary struct {
	Phase       Phase      `json:"phase"`
	ActivatedAt *time.Time `json:"activatedAt,omitempty"`
	EmptySince  *time.Time `json:"emptySince,omitempty"`
	CloseReason string     `json:"closeReason,omitempty"`
}

// Apply makes s the state after e. It returns false, and leaves s alone, if e is
// not the next event: the caller has a gap and needs a new snapshot.
func (s *State) Apply(e Event) bool {
	if e.Epoch != s.Epoch || e.Seq != s.Seq+1 {
		return false
	}
	s.Seq = e.Seq
	switch {
	case e.Settings != nil:
		s.Settings = *e.Settings
	case e.Member != nil:
		s.applyMember(*e.Member, e.Type == EventLeft)
	case e.Mic != nil:
		s.applyMic(*e.Mic)
	case e.Room != nil:
		s.Phase, s.ActivatedAt, s.EmptySince, s.CloseReason = e.Room.Phase, e.Room.ActivatedAt, e.Room.EmptySince, e.Room.CloseReason
		if s.Phase == Closed {
			s.Members, s.Mics = nil, nil
		}
	}
	return true
}

func (s *State) applyMember(m Member, left bool) {
	i, found := slices.BinarySearchFunc(s.Members, m.ID, func(a Member, id uint32) int { return int(int64(a.ID) - int64(id)) })
	switch {
	case left && found:
		s.Members = slices.Delete(s.Members, i, i+1)
	case left:
	case found:
		s.Members[i] = m
	default:
		s.Members = slices.Insert(s.Members, i, m)
	}
}

func (s *State) applyMic(m Mic) {
	i, found := slices.BinarySearchFunc(s.Mics, m.Index, func(a Mic, index int) int { return a.Index - index })
	switch {
	case m.Member == 0 && found:
		s.Mics = slices.Delete(s.Mics, i, i+1)
	case m.Member == 0:
	case found:
		s.Mics[i] = m
	default:
		s.Mics = slices.Insert(s.Mics, i, m)
	}
}

// Clone returns a copy that shares nothing mutable with s.
func (s *State) Clone() *State {
	c := *s
	c.Members, c.Mics = slices.Clone(s.Members), slices.Clone(s.Mics)
	return &c
}

// Member returns the member with this ID.
func (s *State) Member(id uint32) (Member, bool) {
	for _, m := range s.Members {
		if m.ID == id {
			return m, true
		}
	}
	return Member{}, false
}

// Session returns the member with this session.
func (s *State) Session(session string) (Member, bool) {
	for _, m := range s.Members {
		if m.Session == session && session != "" {
			return m, true
		}
	}
	return Member{}, false
}

// Subject returns the member with this subject.
func (s *State) Subject(subject string) (Member, bool) {
	for _, m := range s.Members {
		if m.Subject == subject && subject != "" {
			return m, true
		}
	}
	return Member{}, false
}

// Public is what clients may see of s: no subjects, sessions, bans, kicks or deadlines,
// and only members that entered (in this epoch or the one before).
func (s *State) Public() *State {
	p := s.Clone()
	p.Settings = s.Settings.public()
	p.Members = p.Members[:0]
	for _, m := range s.Members {
		if m.visible() {
			p.Members = append(p.Members, m.public())
		}
	}
	return p
}

// Public is what clients may see of e. Events about members that have not entered
// keep their number, without a member, so that numbers stay dense.
func (e Event) Public() Event {
	if e.Settings != nil {
		s := e.Settings.public()
		e.Settings = &s
	}
	if e.Member != nil {
		if !e.Member.visible() {
			e.Member = nil
		} else {
			m := e.Member.public()
			e.Member = &m
		}
	}
	return e
}

func (m Member) visible() bool { return m.Status == Entered || m.Status == Away || m.Status == Held }

func (m Member) public() Member {
	return Member{ID: m.ID, Name: m.Name, Role: m.Role, Status: m.Status, HandAt: m.HandAt, Entered: m.Entered}
}

func (s Settings) public() Settings {
	s.Owner, s.Moderators, s.Banned, s.Kicked, s.Spec = "", nil, nil, nil, nil
	return s
}
