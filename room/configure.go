package room

import (
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

func (c Configure) apply(r *Room, _ time.Time, by Actor) error {
	if _, err := r.moderator(by); err != nil {
		return err
	}
	if err := c.check(); err != nil {
		return err
	}
	old := r.state.Settings
	next := old
	put(&next.DisplayName, c.DisplayName)
	put(&next.Access, c.Access)
	put(&next.MicPolicy, c.MicPolicy)
	put(&next.MuteOnEntry, c.MuteOnEntry)
	put(&next.SpeakingSeconds, c.SpeakingSeconds)
	put(&next.Announcement, c.Announcement)
	if c.Metadata != nil {
		next.Metadata = maps.Clone(*c.Metadata)
	}
	if !sameChoices(old, next) {
		r.setSettings(func(s *Settings) { *s = next })
	}
	r.followAccess(old)
	r.followTurns(old)
	return nil
}

func put[T any](value *T, asked *T) {
	if asked != nil {
		*value = *asked
	}
}

// sameChoices compares what Configure changes.
func sameChoices(a, b Settings) bool {
	return a.DisplayName == b.DisplayName && a.Access == b.Access && a.MicPolicy == b.MicPolicy && a.MuteOnEntry == b.MuteOnEntry &&
		a.SpeakingSeconds == b.SpeakingSeconds && a.Announcement == b.Announcement && maps.Equal(a.Metadata, b.Metadata)
}

func (c Configure) check() error {
	switch {
	case c.Access != nil && !c.Access.known():
		return refuse(BadCommand, "access is Public, InviteOnly or Locked")
	case c.MicPolicy != nil && !c.MicPolicy.known():
		return refuse(BadCommand, "micPolicy is Auto, OnRequest or Appointed")
	case c.SpeakingSeconds != nil && (*c.SpeakingSeconds < 0 || *c.SpeakingSeconds > MaxSpeakingSeconds):
		return refuse(BadCommand, "speakingSeconds is 0, for no limit, to %d", MaxSpeakingSeconds)
	}
	if c.DisplayName != nil {
		if err := CheckName(*c.DisplayName); err != nil {
			return err
		}
	}
	if c.Announcement != nil {
		if err := checkText("an announcement", *c.Announcement); err != nil {
			return err
		}
	}
	if c.Metadata != nil {
		return checkMetadata(*c.Metadata)
	}
	return nil
}

// checkText refuses what is no text of some lines.
func checkText(what, text string) error {
	if len(text) > MaxAnnouncement || !utf8.ValidString(text) || !printable(strings.ReplaceAll(text, "\n", " ")) {
		return refuse(BadCommand, "%s is at most %d bytes of printable text", what, MaxAnnouncement)
	}
	return nil
}

func checkMetadata(m map[string]string) error {
	if len(m) > MaxMetadata {
		return refuse(BadCommand, "metadata has at most %d entries", MaxMetadata)
	}
	for k, v := range m {
		if k == "" || len(k) > MaxMetadataKey || len(v) > MaxMetadataValue || !printable(k) || !utf8.ValidString(v) {
			return refuse(BadCommand, "metadata has keys of 1 to %d bytes and values of up to %d", MaxMetadataKey, MaxMetadataValue)
		}
	}
	return nil
}

// followAccess turns back who is on the way in when the room lets in fewer.
func (r *Room) followAccess(old Settings) {
	switch r.state.Settings.Access {
	case old.Access:
	case Locked:
		r.turnBack(RoomLocked)
	case InviteOnly:
		r.turnBack(InviteRequired)
	}
}

// followTurns begins everybody's turn anew when their length has changed.
func (r *Room) followTurns(old Settings) {
	if old.SpeakingSeconds == r.state.Settings.SpeakingSeconds {
		return
	}
	for _, mic := range slices.Clone(r.state.Mics) {
		m, _ := r.state.Member(mic.Member)
		if until := r.turn(m); until != nil || mic.Until != nil {
			mic.Until = until
			r.setMic(mic)
		}
	}
}
