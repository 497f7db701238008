package chat

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// The longest keys, subjects and names in bytes. They fit every back end we know:
// an OIDC subject is an issuer's URL and at most 255 characters.
const (
	MaxKey     = 512
	MaxSubject = 1024
	MaxName    = 512
)

// Validate returns ErrInvalid unless 1 <= MaxMics <= MaxMembers.
func (l Limits) Validate() error {
	if l.MaxMics < 1 || l.MaxMics > l.MaxMembers {
		return fmt.Errorf("%w: want 1 <= maxMics <= maxMembers, have %d and %d", ErrInvalid, l.MaxMics, l.MaxMembers)
	}
	return nil
}

// Validate returns ErrInvalid for a spec that no back end can hold. The owner may be empty.
func (s GroupSpec) Validate() error {
	if err := line("name", s.Name, 0, MaxName); err != nil {
		return err
	}
	if err := line("owner", s.Owner, 0, MaxSubject); err != nil {
		return err
	}
	return s.Limits.Validate()
}

// Validate returns ErrInvalid for a member that no back end can hold.
func (m Member) Validate() error {
	if err := line("subject", m.Subject, 1, MaxSubject); err != nil {
		return err
	}
	return line("name", m.Name, 0, MaxName)
}

// Validate returns ErrInvalid unless the author is a subject and Text is
// 1..MaxText bytes that every back end can carry (see Message).
func (m Message) Validate() error {
	if err := line("author", m.Author, 1, MaxSubject); err != nil {
		return err
	}
	if err := line("name", m.Name, 0, MaxName); err != nil {
		return err
	}
	return text("text", m.Text, 1, MaxText, "\t\n\r")
}

// ValidateKey returns ErrInvalid unless key is 1..MaxKey bytes of printable UTF-8.
func ValidateKey(key string) error { return line("key", key, 1, MaxKey) }

// ValidateSubject returns ErrInvalid unless subject is 1..MaxSubject bytes of printable UTF-8.
func ValidateSubject(subject string) error { return line("subject", subject, 1, MaxSubject) }

func line(field, s string, least, most int) error { return text(field, s, least, most, "") }

// text is what XML 1.0 can carry (XMPP is the narrowest back end), less the
// control characters that are not in allowed.
func text(field, s string, least, most int, allowed string) error {
	switch {
	case len(s) < least:
		return fmt.Errorf("%w: %s is empty", ErrInvalid, field)
	case len(s) > most:
		return fmt.Errorf("%w: %s has %d bytes, at most %d are allowed", ErrInvalid, field, len(s), most)
	case !utf8.ValidString(s):
		return fmt.Errorf("%w: %s is not valid UTF-8", ErrInvalid, field)
	}
	for _, r := range s {
		if r == 0xFFFE || r == 0xFFFF || (r < 0x20 || r == 0x7F) && !strings.ContainsRune(allowed, r) {
			return fmt.Errorf("%w: %s contains the character %U", ErrInvalid, field, r)
		}
	}
	return nil
}
