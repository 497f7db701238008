package room_test

import (
	"fmt"
	"math"
	"math/bits"
	"slices"
	"time"

	"pgregory.net/rapid"

	"voiceroom.dev/voiceroom/room"
)

// subjects are who may come, the owner first. Their names, and those of sessions, keys
// and links, are words that clients are shown nowhere.
var subjects = []string{"subject:u0", "subject:u1", "subject:u2", "subject:u3", "subject:u4", "subject:u5", "subject:u6", "subject:u7"}

var (
	roles     = []room.Role{"", room.Audience, room.Speaker, room.CoHost, room.Host}
	accesses  = []room.Access{room.Public, room.Public, room.InviteOnly, room.Locked}
	policies  = []room.MicPolicy{room.Auto, room.OnRequest, room.Appointed}
	names     = []string{"", "Ann", "Bob", "B\nob"}
	keyIDs    = []string{"", "kid-1", "kid-2"}
	durations = []time.Duration{time.Second, 5 * time.Second, 15 * time.Second, 20 * time.Second, 30 * time.Second, 61 * time.Second, 10 * time.Minute, 15 * time.Minute}
)

// draw draws commands that are likely to mean something, from what the model says is there.
type draw struct {
	*rapid.T
	model    *model
	links    []room.Invite
	sessions int // that were made
}

// numbers draw a number up to their index, each as often. Rapid's own favour small ones.
var numbers = func() (all [128]*rapid.Generator[int]) {
	for n := range all {
		all[n] = rapid.Custom(func(t *rapid.T) (drawn int) {
			for range bits.Len(uint(n)) + 2 {
				if drawn <<= 1; coin.Draw(t, "") {
					drawn++
				}
			}
			return drawn % (n + 1)
		})
	}
	return all
}()

var coin = rapid.Bool()

func (d draw) upTo(n int, what string) int { return numbers[min(n, len(numbers)-1)].Draw(d.T, what) }

func (d draw) yes(what string) bool { return coin.Draw(d.T, what) }

func pick[T any](d draw, from []T, what string) T { return from[d.upTo(len(from)-1, what)] }

// rarely is true once in n times.
func (d draw) rarely(n int, what string) bool { return d.upTo(n-1, what) == n-1 }

func maybe[T any](d draw, from []T, what string) *T {
	if i := d.upTo(len(from), what); i > 0 {
		return &from[i-1]
	}
	return nil
}

func (d draw) spec(generation int64) room.Spec {
	return room.Spec{
		Generation:      generation,
		Owner:           subjects[0],
		DisplayName:     pick(d, names[:3], "display name"),
		MaxMembers:      2 + d.upTo(6, "max members"),
		MaxMics:         1 + d.upTo(3, "max mics"),
		Access:          pick(d, accesses, "access"),
		MicPolicy:       pick(d, policies, "policy"),
		Duplicates:      pick(d, []room.Duplicates{"", room.Replace, room.Refuse}, "duplicates"),
		Audience:        pick(d, []room.AudienceMode{"", room.Forward, room.Mix}, "audience"),
		MuteOnEntry:     d.yes("mute on entry"),
		SpeakingSeconds: pick(d, []int{0, 0, 30, 90}, "speaking seconds"),
		Announcement:    pick(d, names[:3], "announcement"),
		Metadata:        pick(d, []map[string]string{nil, {"topic": "x"}}, "metadata"),
		Moderators:      pick(d, [][]string{nil, {subjects[1]}, {subjects[1], subjects[2]}, {subjects[0], subjects[3]}}, "moderators"),
		Banned:          pick(d, [][]string{nil, nil, {subjects[7]}, {subjects[1], subjects[6]}}, "banned"),
	}
}

// actor is the control plane or somebody with a session, moderators more often.
func (d draw) actor() room.Actor {
	actors := []room.Actor{room.Control}
	for _, p := range d.model.members() {
		if p.status == room.Entered && moderates(p.role) {
			actors = append(actors, room.Actor{Session: p.session}, room.Actor{Session: p.session})
		}
	}
	if d.rarely(3, "any") {
		return room.Actor{Session: d.session()}
	}
	return pick(d, actors, "by")
}

// client is an actor that is not the control plane; more often one that is as wanted.
func (d draw) client(wanted func(*person) bool) room.Actor {
	if p := d.person(wanted); p != nil {
		return room.Actor{Session: p.session}
	}
	return room.Actor{Session: d.session()}
}

// person is a member that has a session and is as wanted; nil now and then.
func (d draw) person(wanted func(*person) bool) *person {
	them := slices.DeleteFunc(d.model.members(), func(p *person) bool { return p.session == "" || !wanted(p) })
	if len(them) == 0 || d.rarely(4, "anybody") {
		return nil
	}
	return pick(d, them, "person")
}

func entered(p *person) bool { return p.status == room.Entered }
func onMic(p *person) bool   { return p.mic != nil }
func offMic(p *person) bool  { return p.mic == nil && entered(p) }
func raised(p *person) bool  { return p.hand != nil }
func asked(p *person) bool   { return !p.asked.IsZero() }
func coming(p *person) bool  { return !p.inside() }

// nobodys is a session that there never is.
const nobodys = "session-of-nobody"

func (d draw) session() string {
	var sessions []string
	for _, p := range d.model.members() {
		if p.next != nil {
			sessions = append(sessions, p.next.session)
		}
		if p.session != "" {
			sessions = append(sessions, p.session)
		}
	}
	if len(sessions) == 0 || d.rarely(20, "nobody's") {
		return nobodys
	}
	return pick(d, sessions, "session")
}

// number is a member's, more often of one that is as wanted.
func (d draw) number(wanted func(*person) bool) uint32 {
	if p := d.person(wanted); p != nil {
		return p.number
	}
	return d.member()
}

// member is a member's number, now and then that of one who has gone or never was.
func (d draw) member() uint32 {
	members := d.model.members()
	if len(members) == 0 || d.rarely(20, "anybody") {
		return uint32(d.upTo(int(d.model.last)+1, "number"))
	}
	return pick(d, members, "member").number
}

func (d draw) index() int { return d.upTo(d.model.choice.MaxMics+1, "index") - 1 }

// newcomer is somebody who may well get a place: the owner first.
func (d draw) newcomer() string {
	var welcome []string
	for _, subject := range subjects {
		if p := d.model.person(subject); p.place == nil && !p.out() {
			welcome = append(welcome, subject)
		}
	}
	switch {
	case len(welcome) == 0 || d.rarely(4, "anybody"):
		return pick(d, subjects, "subject")
	case d.model.activated.IsZero():
		return welcome[0]
	}
	return pick(d, welcome, "newcomer")
}

func (d *draw) newSession() string {
	d.sessions++
	return sessionName(d.sessions)
}

func sessionName(n int) string { return fmt.Sprint("session-", n) }

func (d *draw) reserve(subject string) room.Reserve {
	p := d.model.person(subject)
	c := room.Reserve{Subject: p.subject, Session: d.newSession(), Name: pick(*d, names[:3], "name"), Role: pick(*d, roles, "role"), Keys: keys(pick(*d, keyIDs, "key"))}
	if d.rarely(3, "guest") {
		c.Guest, c.Origin = true, pick(*d, []string{"192.0.2.1", "192.0.2.2"}, "origin")
	}
	if p.place != nil && d.yes("resumes") {
		c.Resumes = p.session
	}
	if d.yes("invited") {
		c.InvitedAt = d.model.now.Add(-pick(*d, []time.Duration{0, time.Second, time.Minute}, "ago"))
		c.Invite = d.invite()
	}
	if d.rarely(20, "odd") {
		c.Name = pick(*d, names, "odd name")
		if current := d.session(); d.outlivesTime(current) {
			c.Session = current
		}
	}
	return c
}

// outlivesTime says whether a session is no former one before the command is given, however
// much time has passed that the model does not know of yet. The model forgets former ones:
// TestTheSessionOfAUsedTokenIsReservedNoMore.
func (d draw) outlivesTime(session string) bool {
	p := d.model.bySession(session)
	return p != nil && p.session == session && (p.until.IsZero() || p.status == room.Reserved)
}

// invite is a link, known already or new, or nil for an invitation of another kind.
func (d *draw) invite() *room.Invite {
	switch n := d.upTo(len(d.links)+1, "link"); {
	case n == 0:
		return nil
	case n <= len(d.links):
		return &d.links[n-1]
	case len(d.links) == 3: // a fourth one takes the first one's place
		d.links = slices.Delete(slices.Clone(d.links), 0, 1)
	}
	d.links = append(slices.Clone(d.links), room.Invite{ID: fmt.Sprintf("link-%d", d.sessions), Uses: d.upTo(2, "uses"),
		Until: d.model.now.Add(pick(*d, durations, "valid for")), Named: d.rarely(4, "named")})
	return &d.links[len(d.links)-1]
}

// commands draw the commands, each with an actor.
func (d *draw) commands() []func() (room.Actor, room.Command) {
	var all []func() (room.Actor, room.Command)
	for _, c := range d.entry() {
		all = append(all, func() (room.Actor, room.Command) {
			if d.rarely(50, "as a client") {
				return d.client(entered), c()
			}
			return room.Control, c()
		})
	}
	for _, c := range d.moderation() {
		all = append(all, func() (room.Actor, room.Command) { return d.actor(), c() })
	}
	return append(all, d.own()...)
}

func (d *draw) entry() []func() room.Command {
	newcomers := func() string { return d.client(coming).Session }
	return []func() room.Command{
		func() room.Command { return d.reserve(pick(*d, subjects, "subject")) },
		func() room.Command { return room.Open{Session: d.session(), Key: pick(*d, keyIDs, "key")} },
		func() room.Command { return room.Associate{Session: d.session()} },
		func() room.Command { return room.Enter{Session: newcomers()} },
		func() room.Command { return room.Fail{Session: newcomers()} },
		func() room.Command { return room.Lost{Session: d.session()} },
		func() room.Command {
			return room.SetSpec{Spec: d.spec(d.model.spec.Generation - 1 + int64(d.upTo(3, "newer")))}
		},
		func() room.Command {
			return room.Renew{Until: d.model.now.Add(pick(*d, []time.Duration{time.Hour, 10 * time.Second, 0}, "lease")), Durable: pick(*d, []uint64{math.MaxUint64, 0}, "durable")}
		},
		func() room.Command { return room.ReleaseHeld{} },
		func() room.Command {
			return room.RevokeKeys{Keys: []string{pick(*d, []string{"kid-3", "kid-3", "kid-2", "kid-1"}, "revoked")}}
		},
		func() room.Command { return room.Tick{} },
	}
}

func (d *draw) own() []func() (room.Actor, room.Command) {
	return []func() (room.Actor, room.Command){
		func() (room.Actor, room.Command) { return d.client(offMic), room.TakeMic{Index: d.index()} },
		func() (room.Actor, room.Command) { return d.client(onMic), room.TakeMic{Index: d.index()} },
		func() (room.Actor, room.Command) { return d.client(onMic), room.LeaveMic{} },
		func() (room.Actor, room.Command) { return d.client(onMic), room.Mute{Muted: d.yes("muted")} },
		func() (room.Actor, room.Command) {
			return d.client(offMic), room.RaiseHand{Raised: !d.rarely(4, "lower")}
		},
		func() (room.Actor, room.Command) { return d.client(offMic), room.RaiseHand{Raised: true} },
		func() (room.Actor, room.Command) {
			return d.client(asked), room.AnswerAsk{Accept: !d.rarely(3, "decline")}
		},
		func() (room.Actor, room.Command) {
			return d.client(entered), room.Rename{Name: pick(*d, names, "name")}
		},
	}
}

func (d *draw) moderation() []func() room.Command {
	return []func() room.Command{
		func() room.Command { return room.Leave{Session: pick(*d, []string{"", d.session()}, "whose")} },
		func() room.Command { return room.GiveMic{Member: d.number(offMic), Index: d.index()} },
		func() room.Command { return room.GiveMic{Member: d.number(onMic), Index: d.index()} },
		func() room.Command { return room.PullMic{Member: d.number(onMic)} },
		func() room.Command { return room.SwapMics{A: d.index(), B: d.index()} },
		func() room.Command { return room.LockMic{Index: d.index(), Locked: !d.rarely(3, "unlock")} },
		func() room.Command {
			return room.MuteMember{Member: d.number(onMic), Muted: !d.rarely(3, "unmute")}
		},
		func() room.Command { return room.MuteAll{Muted: !d.rarely(3, "unmute")} },
		func() room.Command { return room.SetPriority{Member: d.member(), Priority: d.yes("priority")} },
		func() room.Command { return room.LowerHand{Member: d.number(raised)} },
		func() room.Command {
			if d.rarely(3, "clear") {
				return room.ClearHands{}
			}
			return room.HandPriority{Member: d.number(raised), Priority: d.upTo(11, "priority") - 1}
		},
		func() room.Command { return room.AskToSpeak{Member: d.number(offMic)} },
		func() room.Command { return room.Kick{Member: d.member(), Ban: d.rarely(3, "ban")} },
		func() room.Command { return d.unban() },
		func() room.Command { return room.ChatMute{Member: d.member(), Muted: !d.rarely(3, "unmute")} },
		func() room.Command { return room.SetRole{Member: d.number(entered), Role: pick(*d, roles, "role")} },
		func() room.Command { return room.TransferHost{Member: d.number(entered)} },
		func() room.Command { return d.configure() },
		func() room.Command { return room.ResetInvites{} },
	}
}

func (d draw) unban() room.Command {
	if d.yes("by number") {
		return room.Unban{Member: uint32(d.upTo(int(d.model.last)+1, "number"))}
	}
	return room.Unban{Subject: pick(d, subjects, "subject")}
}

func (d draw) configure() room.Command {
	c := room.Configure{
		DisplayName:     maybe(d, names[:3], "display name"),
		Access:          maybe(d, accesses, "access"),
		MicPolicy:       maybe(d, policies, "policy"),
		MuteOnEntry:     maybe(d, []bool{true, false}, "mute on entry"),
		SpeakingSeconds: maybe(d, []int{0, 30, 90}, "speaking seconds"),
		Announcement:    maybe(d, names[:3], "announcement"),
		Metadata:        maybe(d, []map[string]string{{"topic": "y"}, {}}, "metadata"),
	}
	if d.rarely(10, "odd") {
		odd := []room.Configure{{DisplayName: &names[3]}, {Access: new(room.Access("Odd"))}, {MicPolicy: new(room.MicPolicy("Odd"))},
			{SpeakingSeconds: new(-1)}, {Metadata: &map[string]string{"": "no key"}}}
		return pick(d, odd, "what")
	}
	return c
}
