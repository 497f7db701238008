package history

import (
	"fmt"
	"slices"
	"strings"

	"voiceroom.dev/voiceroom/room"
)

// Limits of a Window.
const (
	MaxSubjects = 16
	MaxMics     = 8
)

// place is what a subject has in the room; the zero place is none.
type place struct {
	id      uint32
	session string
	status  room.Status
	role    room.Role
}

// visible says whether the subject entered, in this epoch or the one before.
func (p place) visible() bool {
	return p.status == room.Entered || p.status == room.Away || p.status == room.Held
}

func (p place) moderates() bool { return p.role == room.Host || p.role == room.CoHost }

// set is a set of subjects, by their number.
type set uint16

func (s set) has(i int) bool { return s&(1<<i) != 0 }

func (s set) with(i int, in bool) set {
	if in {
		return s | 1<<i
	}
	return s &^ (1 << i)
}

// view is what the model knows of a room. It is a value: views are compared with ==.
type view struct {
	unknown             bool // nothing is known
	places              [MaxSubjects]place
	strangers           int             // members that the window has no subject for
	mics                [MaxMics]uint32 // member by index; 0: free
	host                int             // -1: a stranger
	kicked, audience    set
	moderators          set
	maxMembers, maxMics int
}

// numbers gives each subject of a window its number.
type numbers map[string]int

func (n numbers) view(s *room.State) view {
	if s == nil {
		return view{unknown: true}
	}
	v := view{maxMembers: s.Settings.MaxMembers, maxMics: s.Settings.MaxMics, host: n.of(s.Settings.Host)}
	for _, m := range s.Members {
		i := n.of(m.Subject)
		if i < 0 {
			v.strangers++
			continue
		}
		v.places[i] = place{id: m.ID, session: m.Session, status: m.Status, role: m.Role}
	}
	for _, m := range s.Mics {
		if m.Index < MaxMics {
			v.mics[m.Index] = m.Member
		}
	}
	for _, r := range s.Records {
		if i := n.of(r.Subject); i >= 0 {
			v.kicked, v.audience = v.kicked.with(i, r.Kicked != nil), v.audience.with(i, r.Audience)
		}
	}
	for _, subject := range s.Settings.Moderators {
		if i := n.of(subject); i >= 0 {
			v.moderators = v.moderators.with(i, true)
		}
	}
	return v
}

func (n numbers) of(subject string) int {
	if i, ok := n[subject]; ok {
		return i
	}
	return -1
}

func (v *view) members() int {
	c := v.strangers
	for i := range v.places {
		if v.places[i].id != 0 {
			c++
		}
	}
	return c
}

// member returns the number of the subject that a member is, -1 if there is none.
func (v *view) member(id uint32) int {
	return slices.IndexFunc(v.places[:], func(p place) bool { return p.id == id && id != 0 })
}

// mic returns the index that a member holds, -1 if none.
func (v *view) mic(id uint32) int { return slices.Index(v.mics[:v.maxMics], id) }

// free returns the lowest free index, -1 if there is none.
func (v *view) free() int { return slices.Index(v.mics[:v.maxMics], 0) }

// remove takes a subject's place and microphone away.
func (v *view) remove(i int) {
	if m := v.mic(v.places[i].id); m >= 0 {
		v.mics[m] = 0
	}
	v.places[i] = place{}
}

// enter is what happens to an associated member that enters: it gets a microphone if
// there is one for it.
func (v *view) enter(i int) {
	p := &v.places[i]
	p.status = room.Entered
	if m := v.free(); m >= 0 && p.role != room.Audience {
		v.mics[m] = p.id
	}
}

// succeed makes a subject the host, and who was it a co-host.
func (v *view) succeed(host int) {
	old := v.host
	if v.places[old].id != 0 {
		v.places[old].role, v.audience = room.CoHost, v.audience.with(old, false)
	}
	if old != 0 && !v.kicked.has(old) {
		v.moderators = v.moderators.with(old, true)
	}
	v.host = host
	v.places[host].role, v.audience = room.Host, v.audience.with(host, false)
}

// describe is a view for people.
func (v *view) describe(subjects []string) string {
	if v.unknown {
		return "not known"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d:", v.members(), v.maxMembers)
	for i, p := range v.places {
		if p.id != 0 {
			fmt.Fprintf(&b, " %s=%d/%s/%s/%.6s", subjects[i], p.id, p.status, p.role, p.session)
		}
	}
	fmt.Fprintf(&b, " mics %v", v.mics[:v.maxMics])
	for i, s := range subjects {
		if v.kicked.has(i) {
			fmt.Fprintf(&b, " kicked:%s", s)
		}
	}
	return b.String()
}
