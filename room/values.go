package room

// Role of a member.
type Role string

// Roles, by falling power. At most one member is the host.
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

func (a Access) known() bool { return a == Public || a == InviteOnly || a == Locked }

// MicPolicy says how microphones are given.
type MicPolicy string

// Microphone policies, spelled as in the VoiceRoom resource.
const (
	Auto      MicPolicy = "Auto"
	OnRequest MicPolicy = "OnRequest"
	Appointed MicPolicy = "Appointed"
)

func (p MicPolicy) known() bool { return p == Auto || p == OnRequest || p == Appointed }

// Duplicates says what happens when a subject that is connected joins again.
type Duplicates string

// Duplicates values, spelled as in the VoiceRoom resource.
const (
	Replace Duplicates = "Replace" // the new client takes the place over; the default
	Refuse  Duplicates = "Refuse"  // only the same client may come back
)

// AudienceMode says what members of the room hear who hold no microphone.
type AudienceMode string

// Audience modes, spelled as in the VoiceRoom resource. One that is not known is Forward.
const (
	Forward AudienceMode = "Forward" // the loudest, each by itself; the default
	Mix     AudienceMode = "Mix"     // all microphones in one, mixed once for all of them
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
	Away       Status = "away"       // connection lost; place, mic, hand and role kept for a grace
	Held       Status = "held"       // was in the epoch before; place kept for its subject
)
