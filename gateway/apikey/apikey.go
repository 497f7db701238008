// Package apikey knows the API keys of back ends by their digests.
//
// Keys come as a map of names to values, as a Secret or a directory of files
// holds them. A value is the key itself, or "sha256:" and the hexadecimal digest
// of it, so that whoever can read the deployment need not be able to call.
package apikey

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// MinLength is the shortest key in bytes: anything shorter can be guessed.
const MinLength = 24

const digestPrefix = "sha256:"

// names appear in subjects ("key:<name>:<user>"), where a colon would be ambiguous.
var names = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$`)

// Set is an immutable set of keys. The nil Set is empty.
type Set struct {
	digests map[string][sha256.Size]byte // by name
}

// Parse reads names and values. The set holds those that are well-formed, whatever
// the error says of others: one mistake must not keep a key alive that was taken
// away beside it. Errors name the key, never its value.
func Parse(values map[string][]byte) (*Set, error) {
	s := &Set{digests: make(map[string][sha256.Size]byte, len(values))}
	owners := make(map[[sha256.Size]byte]string, len(values))
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if !names.MatchString(name) {
			errs = append(errs, fmt.Errorf("API key %.64q: the name may have letters, digits and . _ - only", name))
			continue
		}
		digest, err := digestOf(bytes.TrimSpace(values[name]))
		if err != nil {
			errs = append(errs, fmt.Errorf("API key %q: %w", name, err))
			continue
		}
		if other, taken := owners[digest]; taken { // whose would a request with it be?
			errs = append(errs, fmt.Errorf("API key %q: it is the same as %q", name, other))
			continue
		}
		owners[digest], s.digests[name] = name, digest
	}
	return s, errors.Join(errs...)
}

func digestOf(value []byte) (digest [sha256.Size]byte, err error) {
	if text, ok := strings.CutPrefix(string(value), digestPrefix); ok {
		b, err := hex.DecodeString(text)
		if err != nil || len(b) != sha256.Size {
			return digest, fmt.Errorf("the digest is not %d hexadecimal digits", 2*sha256.Size)
		}
		return [sha256.Size]byte(b), nil
	}
	if len(value) < MinLength {
		return digest, fmt.Errorf("the key is shorter than %d bytes", MinLength)
	}
	return sha256.Sum256(value), nil
}

// Load reads a directory with a file per key, as a mounted Secret is. Names that
// begin with a dot are not keys.
func Load(dir string) (*Set, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("reading API keys: %w", err)
	}
	values := map[string][]byte{}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		value, err := os.ReadFile(filepath.Join(dir, e.Name())) //nolint:gosec // the deployer names the directory
		if err != nil {
			return nil, fmt.Errorf("reading API key %q: %w", e.Name(), err)
		}
		values[e.Name()] = value
	}
	return Parse(values)
}

// Find returns the name of a key. Its time does not depend on how much of a key
// is right.
func (s *Set) Find(key string) (name string, ok bool) {
	if s == nil || len(key) < MinLength {
		return "", false
	}
	digest := sha256.Sum256([]byte(key))
	for n, d := range s.digests {
		if subtle.ConstantTimeCompare(d[:], digest[:]) == 1 {
			name, ok = n, true
		}
	}
	return name, ok
}

// Len is how many keys there are.
func (s *Set) Len() int {
	if s == nil {
		return 0
	}
	return len(s.digests)
}
