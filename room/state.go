package room

import (
	"cmp"
	"slices"
	"strings"
	"time"
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
	Generation      int64             `json:"generation"`
	DisplayName     string            `json:"displayName,omitempty"`
	Owner           string            `json:"owner"`
	MaxMembers      int               `json:"maxMembers"`
	MaxMics         int               `json:"maxMics"`
	Access          Access            `json:"access"`
	MicPolicy       MicPolicy         `json:"micPolicy"`
	Duplicates      Duplicates        `json:"duplicates,omitempty"` // empty: Replace
	Audience        AudienceMode      `json:"audience,omitempty"`   // empty: Forward
	MuteOnEntry     bool              `json:"muteOnEntry,omitempty"`
	SpeakingSeconds int               `json:"speakingSeconds,omitempty"` // 0: no limit
	Announcement    string            `json:"announcement,omitempty"`
	Metadata        map[string]string `json:"metadata,omitempty"`
	Moderators      []string          `json:"moderators,omitempty"`
	Banned          []string          `json:"banned,omitempty"`
}

// Settings are the room's values now: the spec's, and what moderators changed since.
// What its slices and maps hold is replaced, never changed.
type Settings struct {
	Generation      int64             `json:"generation"` // of the newest spec that was applied
	DisplayName     string            `json:"displayName,omitempty"`
	MaxMembers      int               `json:"maxMembers"`
	MaxMics         int               `json:"maxMics"`
	Access          Access            `json:"access"`
	MicPolicy       MicPolicy         `json:"micPolicy"`
	Duplicates      Duplicates        `json:"duplicates,omitempty"`
	Audience        AudienceMode      `json:"audience,omitempty"`
	MuteOnEntry     bool              `json:"muteOnEntry,omitempty"`
	SpeakingSeconds int               `json:"speakingSeconds,omitempty"`
	LockedMics      []int             `json:"lockedMics,omitempty"` // indexes, rising
	Announcement    string            `json:"announcement,omitempty"`
	Metadata        map[string]string `json:"metadata,omitempty"`

	// Clients are not shown these.

	Owner      string   `json:"owner,omitempty"`
	Moderators []string `json:"moderators,omitempty"` // subjects that come in as co-hosts
	// Host is the subject that is the host while it is here: the owner at first.
	Host string `json:"host,omitempty"`
	// HostGone is since when the host is not connected.
	HostGone *time.Time `json:"hostGone,omitempty"`
	// InvitesSince is when invite links were reset: older ones open nothing.
	InvitesSince *time.Time `json:"invitesSince,omitempty"`
	// Spec is the intent that was applied last: what the next one is compared with, also
	// in the next epoch. Nil: not known.
	Spec *Spec `json:"spec,omitempty"`
}

// Member is one client in the room.
type Member struct {
	ID         uint32     `json:"id"` // the CSRC of its audio; never used twice in a room
	Name       string     `json:"name,omitempty"`
	Role       Role       `json:"role"`
	Status     Status     `json:"status"`
	Hand       *Hand      `json:"hand,omitempty"`       // it is raised
	AskedUntil *time.Time `json:"askedUntil,omitempty"` // a moderator asks it to speak
	Priority   bool       `json:"priority,omitempty"`   // priority speaker: heard before all others
	ChatMuted  bool       `json:"chatMuted,omitempty"`  // may not post to the chat
	Entered    *time.Time `json:"enteredAt,omitempty"`

	// Clients are not shown these.

	Subject  string     `json:"subject,omitempty"`
	Session  string     `json:"session,omitempty"`
	Deadline *time.Time `json:"deadline,omitempty"` // the place is released then
	Invite   string     `json:"invite,omitempty"`   // ID of the link with counted uses that it came by
	// Keys are the IDs of the keys that signed what let it in. It ends with them.
	Keys []string `json:"keys,omitempty"`
}

// Hand is a raised hand. Hands queue by falling priority, and by age within one.
type Hand struct {
	At       time.Time `json:"at"`
	Priority int       `json:"priority,omitempty"` // 0 to MaxHandPriority, given by a moderator
	Until    time.Time `json:"until"`              // it is lowered then
}

// Mic is one virtual microphone. One exists for each holder.
type Mic struct {
	Index    int        `json:"index"`
	Member   uint32     `json:"member"`             // 0: nobody holds it (it is gone)
	Grant    uint64     `json:"grant"`              // grows with every grant in the room; fences the forwarding path
	Muted    bool       `json:"muted,omitempty"`    // by its holder
	ModMuted bool       `json:"modMuted,omitempty"` // by a moderator, who alone lifts it
	Until    *time.Time `json:"until,omitempty"`    // the holder's turn ends then
}

// Live says whether the holder's audio may be forwarded.
func (m Mic) Live() bool { return m.Member != 0 && !m.Muted && !m.ModMuted }

// Record is what the room remembers of a subject, whether it is here or not.
// Clients are not shown it.
type Record struct {
	Subject   string     `json:"subject"`
	Name      string     `json:"name,omitempty"`   // its last display name
	Member    uint32     `json:"member,omitempty"` // its last number
	Kicked    *time.Time `json:"kickedAt,omitempty"`
	Banned    bool       `json:"banned,omitempty"`
	Muted     bool       `json:"muted,omitempty"`     // its microphones are muted by a moderator
	ChatMuted bool       `json:"chatMuted,omitempty"` // it may not post to the chat
	Audience  bool       `json:"audience,omitempty"`  // it was pulled down to the audience
}

// says whether there is anything to remember.
func (r Record) says() bool {
	return r.Kicked != nil || r.Banned || r.Muted || r.ChatMuted || r.Audience
}

// InviteUse counts what an invite link with limited uses let in. Clients are not shown it.
type InviteUse struct {
	ID    string    `json:"id"`
	Uses  int       `json:"uses"` // 0: forgotten
	Until time.Time `json:"until"`
}

// State is a whole room at one version. Control callers get it as it is; clients
// get Public.
type State struct {
	ID           ID          `json:"id"`
	Epoch        uint64      `json:"epoch"`
	Seq          uint64      `json:"seq"` // of the last event within the epoch
	Phase        Phase       `json:"phase"`
	Settings     Settings    `json:"settings"`
	Members      []Member    `json:"members"` // by ID
	Mics         []Mic       `json:"mics"`    // by index, held ones only
	Records      []Record    `json:"records,omitempty"`
	Invites      []InviteUse `json:"invites,omitempty"`
	ActivatedAt  *time.Time  `json:"activatedAt,omitempty"`
	EmptySince   *time.Time  `json:"emptySince,omitempty"` // nobody at all is in the room
	CloseReason  string      `json:"closeReason,omitempty"`
	CloseMessage string      `json:"closeMessage,omitempty"` // a sentence of who closed it

	// The highest of all that were given out, so that none is given twice. Clients are not
	// shown them.

	LastMember uint32 `json:"lastMember,omitempty"`
	LastGrant  uint64 `json:"lastGrant,omitempty"`
}

// Clone returns a copy that shares nothing mutable with s.
func (s *State) Clone() *State {
	c := *s
	c.Members, c.Mics = slices.Clone(s.Members), slices.Clone(s.Mics)
	c.Records, c.Invites = slices.Clone(s.Records), slices.Clone(s.Invites)
	return &c
}

// Member returns the member with this ID.
func (s *State) Member(id uint32) (Member, bool) {
	if i, ok := slices.BinarySearchFunc(s.Members, id, memberByID); ok {
		return s.Members[i], true
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

// Mic returns the microphone that a member holds.
func (s *State) Mic(member uint32) (Mic, bool) {
	for _, m := range s.Mics {
		if m.Member == member && member != 0 {
			return m, true
		}
	}
	return Mic{}, false
}

// Record returns what is remembered of a subject; if nothing is, only its name is set.
func (s *State) Record(subject string) Record {
	if i, ok := slices.BinarySearchFunc(s.Records, subject, recordBySubject); ok {
		return s.Records[i]
	}
	return Record{Subject: subject}
}

// Banned returns the subjects that are banned, sorted.
func (s *State) Banned() []string {
	var banned []string
	for _, r := range s.Records {
		if r.Banned {
			banned = append(banned, r.Subject)
		}
	}
	return banned
}

// Hands returns the members whose hands are raised, in the order of the queue.
func (s *State) Hands() []Member {
	var queue []Member
	for _, m := range s.Members {
		if m.Hand != nil {
			queue = append(queue, m)
		}
	}
	slices.SortStableFunc(queue, func(a, b Member) int {
		return cmp.Or(b.Hand.Priority-a.Hand.Priority, a.Hand.At.Compare(b.Hand.At))
	})
	return queue
}

func memberByID(m Member, id uint32) int           { return cmp.Compare(m.ID, id) }
func micByIndex(m Mic, index int) int              { return m.Index - index }
func recordBySubject(r Record, subject string) int { return strings.Compare(r.Subject, subject) }
func inviteByID(u InviteUse, id string) int        { return strings.Compare(u.ID, id) }

// Public is what clients may see of s: no subjects, sessions, records or deadlines,
// and only members that entered (in this epoch or the one before).
func (s *State) Public() *State {
	p := *s
	p.Settings, p.Records, p.Invites, p.LastMember, p.LastGrant = s.Settings.public(), nil, nil, 0, 0
	p.Mics = slices.Clone(s.Mics)
	p.Members = make([]Member, 0, len(s.Members))
	for _, m := range s.Members {
		if m.visible() {
			p.Members = append(p.Members, m.public())
		}
	}
	return &p
}

func (m Member) visible() bool { return m.Status == Entered || m.Status == Away || m.Status == Held }

func (m Member) public() Member {
	m.Subject, m.Session, m.Deadline, m.Invite, m.Keys = "", "", nil, "", nil
	return m
}

func (s Settings) public() Settings {
	s.Owner, s.Moderators, s.Host, s.HostGone, s.InvitesSince, s.Spec = "", nil, "", nil, nil, nil
	return s
}
