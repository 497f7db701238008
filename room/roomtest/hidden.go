package roomtest

import (
	"encoding/json"
	"fmt"
	"strings"

	"voiceroom.dev/voiceroom/room"
)

// Hidden checks that clients are shown no subject, session, key, link or record: that none
// of them is anywhere in what a state and events are to the public. It looks for the
// words themselves, so they must be no part of names and other public text.
func Hidden(s *room.State, events []room.Event) error {
	shown, err := json.Marshal(s.Public())
	if err != nil {
		return err
	}
	secrets := secretsOf(s)
	if word, found := find(string(shown), secrets); found {
		return fmt.Errorf("clients are shown %q in the state %s", word, shown)
	}
	for _, e := range events {
		p := e.Public()
		if p.Seq != e.Seq {
			return fmt.Errorf("clients are shown event %d as %d", e.Seq, p.Seq)
		}
		if shown, err = json.Marshal(p); err != nil {
			return err
		}
		if word, found := find(string(shown), append(secrets, secretsOfEvent(e)...)); found {
			return fmt.Errorf("clients are shown %q in the event %s", word, shown)
		}
	}
	return nil
}

func find(text string, words []string) (string, bool) {
	for _, w := range words {
		if w != "" && strings.Contains(text, w) {
			return w, true
		}
	}
	return "", false
}

func secretsOf(s *room.State) []string {
	words := append([]string{s.Settings.Owner, s.Settings.Host, "kickedAt", "hostGone", "invitesSince", "deadline"}, s.Settings.Moderators...)
	for _, m := range s.Members {
		words = append(words, secretsOfMember(m)...)
	}
	for _, r := range s.Records {
		words = append(words, r.Subject)
	}
	for _, u := range s.Invites {
		words = append(words, u.ID)
	}
	return words
}

func secretsOfMember(m room.Member) []string {
	return append([]string{m.Subject, m.Session, m.Invite}, m.Keys...)
}

func secretsOfEvent(e room.Event) []string {
	var words []string
	if e.Member != nil {
		words = append(words, secretsOfMember(*e.Member)...)
	}
	if e.Record != nil {
		words = append(words, e.Record.Subject)
	}
	if e.Invite != nil {
		words = append(words, e.Invite.ID)
	}
	return words
}
