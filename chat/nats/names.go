package nats

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"io"
	"strings"
)

// Tokens are lower-case base32: safe as a NATS subject token, in a URL path and
// as a Kubernetes label value.
var encoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

const (
	hashBytes  = 20 // 160 bits of SHA-256: 32 characters
	nonceBytes = 15 // 120 random bits: 24 characters
	hashLen    = hashBytes * 8 / 5
	idLen      = hashLen + nonceBytes*8/5
)

// hash names s by a token of fixed length, whatever characters s is made of.
func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return encoding.EncodeToString(sum[:hashBytes])
}

// newID makes the ID of a new group with this key.
func newID(key string, random io.Reader) (string, error) {
	var nonce [nonceBytes]byte
	if _, err := io.ReadFull(random, nonce[:]); err != nil {
		return "", fmt.Errorf("read randomness for a group ID: %w", err)
	}
	return hash(key) + encoding.EncodeToString(nonce[:]), nil
}

// validID reports whether newID could have made id. Anything else names no
// group, and must not become part of a subject.
func validID(id string) bool {
	return len(id) == idLen && strings.Trim(id, "abcdefghijklmnopqrstuvwxyz234567") == ""
}

func validName(name string) bool {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
	return name != "" && strings.Trim(name, allowed) == ""
}

// names makes the streams' names and subjects from Config.Name.
type names string

func (n names) stateStream() string    { return string(n) + "-state" }
func (n names) messagesStream() string { return string(n) + "-messages" }

func (n names) check() string           { return string(n) + ".check" }
func (n names) group(key string) string { return string(n) + ".group." + hash(key) }
func (n names) allGroups() string       { return string(n) + ".group.*" }
func (n names) messages(id string) string {
	return string(n) + ".message." + id
}

// groupByID is the subject of the record that holds group id, if it exists.
func (n names) groupByID(id string) string { return string(n) + ".group." + id[:hashLen] }

func (n names) member(id, subject string) string {
	return string(n) + ".member." + id + "." + hash(subject)
}
func (n names) members(id string) string { return string(n) + ".member." + id + ".*" }
