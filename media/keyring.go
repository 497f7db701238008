package media

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/token"
)

// keyring holds the public keys that the pod verifies with. Files of a mounted
// ConfigMap are read when they change; the operator also pushes keys, for speed.
//
// A key of tokens that is taken away before its time is not trusted any more, and neither
// is what it let in.
type keyring struct {
	dir                       string
	now                       func() time.Time
	tokens, operator, gateway keySet
	callers                   [2]callerKeys
	known                     knownCallers
	// distrust is told of such keys, after the last token of theirs was verified; it is set
	// before anything changes.
	distrust func(keys []string)
}

// callerKeys verify the callers of one name: a key speaks for its owner only.
type callerKeys struct {
	name     string
	verifier *token.Verifier
}

// keySet is one of the sets. read is the file as it was last read.
type keySet struct {
	current atomic.Pointer[token.PublicSet]
	read    []byte
}

func newKeyring(dir string, now func() time.Time) *keyring {
	k := &keyring{dir: dir, now: now}
	k.callers = [2]callerKeys{
		{token.CallerOperator, token.NewVerifier(k.operator.current.Load, now)},
		{token.CallerGateway, token.NewVerifier(k.gateway.current.Load, now)},
	}
	return k
}

// caller verifies a caller's token, at least every callerMemory, and returns its name.
func (k *keyring) caller(bearer, podUID string) (string, error) {
	now, sets := k.now(), callerSets{k.operator.current.Load(), k.gateway.current.Load()}
	if name, ok := k.known.find(bearer, sets, now); ok {
		return name, nil
	}
	name, err := k.verifyCaller(bearer, podUID)
	if err == nil {
		k.known.add(bearer, name, sets, now)
	}
	return name, err
}

func (k *keyring) verifyCaller(bearer, podUID string) (string, error) {
	var failed error
	for _, c := range k.callers {
		got, err := c.verifier.Caller(bearer, podUID)
		switch {
		case err == nil && got.Name == c.name:
			return c.name, nil
		case err == nil:
			return "", fmt.Errorf("%w: it claims another name than its key's", token.ErrSignature)
		case failed == nil || errors.Is(failed, token.ErrUnknownKey):
			failed = err
		}
	}
	return "", failed
}

// set takes pushed keys; sets that are nil stay.
func (k *keyring) set(keys mediaapi.Keys) error {
	for _, s := range []*token.PublicSet{keys.Tokens, keys.Operator, keys.Gateway} {
		if s == nil {
			continue
		}
		if _, err := token.ParsePublicSet(marshal(s)); err != nil {
			return &room.Error{Code: mediaapi.BadRequest, Detail: "the keys are not a set of Ed25519 keys"}
		}
	}
	for set, pushed := range map[*keySet]*token.PublicSet{&k.tokens: keys.Tokens, &k.operator: keys.Operator, &k.gateway: keys.Gateway} {
		if pushed != nil {
			k.use(set, pushed)
		}
	}
	return nil
}

// use makes next the keys of a set.
func (k *keyring) use(set *keySet, next *token.PublicSet) {
	old := set.current.Swap(next)
	if set != &k.tokens || old == nil {
		return
	}
	var gone []string
	for _, key := range old.Keys {
		if !holds(next, key.ID) && !retired(key, k.now()) {
			gone = append(gone, key.ID)
		}
	}
	if len(gone) > 0 {
		k.distrust(gone)
	}
}

func holds(s *token.PublicSet, id string) bool {
	return slices.ContainsFunc(s.Keys, func(key token.JWK) bool { return key.ID == id })
}

// retired says that a key's time is over, or nearly so by our clock: it goes as it should,
// and whom it let in stays.
func retired(key token.JWK, now time.Time) bool {
	return key.Expires != 0 && now.Add(clockSkew).Unix() >= key.Expires
}

// clockSkew is how far the operator's clock may be ahead of ours.
const clockSkew = time.Minute

// trusts says whether a key signs tokens that open anything here.
func (k *keyring) trusts(id string) bool {
	current := k.tokens.current.Load()
	return current != nil && holds(current, id)
}

// ready says whether there are keys to verify the operator and clients with.
func (k *keyring) ready() bool {
	return k.tokens.current.Load() != nil && k.operator.current.Load() != nil
}

// reload reads the files that changed. It is called by one goroutine.
func (k *keyring) reload(log *slog.Logger) {
	for name, set := range map[string]*keySet{mediaapi.TokensFile: &k.tokens, mediaapi.OperatorFile: &k.operator, mediaapi.GatewayFile: &k.gateway} {
		next, err := set.reload(filepath.Join(k.dir, name))
		switch {
		case err != nil:
			log.Error("the keys stay as they were", "file", name, "error", err)
		case next != nil:
			k.use(set, next)
		}
	}
}

// reload reads the file; nil means that it has not changed.
func (s *keySet) reload(path string) (*token.PublicSet, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil // not projected yet; readiness says so
	}
	if err != nil {
		return nil, fmt.Errorf("reading keys: %w", err)
	}
	if bytes.Equal(content, s.read) {
		return nil, nil
	}
	s.read = content // said once, however often it is read
	return token.ParsePublicSet(content)
}
