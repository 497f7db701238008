package media

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"voiceroom.dev/voiceroom/mediaapi"
	"voiceroom.dev/voiceroom/room"
	"voiceroom.dev/voiceroom/token"
)

// keyring holds the public keys that the pod verifies with. Files of a mounted
// ConfigMap are read when they change; the operator also pushes keys, for speed.
type keyring struct {
	dir                       string
	tokens, operator, gateway keySet
	callers                   [2]callerKeys
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
	k := &keyring{dir: dir}
	k.callers = [2]callerKeys{
		{token.CallerOperator, token.NewVerifier(k.operator.current.Load, now)},
		{token.CallerGateway, token.NewVerifier(k.gateway.current.Load, now)},
	}
	return k
}

// caller verifies a caller's token and returns its name.
func (k *keyring) caller(bearer, podUID string) (string, error) {
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
			set.current.Store(pushed)
		}
	}
	return nil
}

// ready says whether there are keys to verify the operator and clients with.
func (k *keyring) ready() bool {
	return k.tokens.current.Load() != nil && k.operator.current.Load() != nil
}

// reload reads the files that changed. It is called by one goroutine.
func (k *keyring) reload(log *slog.Logger) {
	for name, set := range map[string]*keySet{mediaapi.TokensFile: &k.tokens, mediaapi.OperatorFile: &k.operator, mediaapi.GatewayFile: &k.gateway} {
		if err := set.reload(filepath.Join(k.dir, name)); err != nil {
			log.Error("the keys stay as they were", "file", name, "error", err)
		}
	}
}

func (s *keySet) reload(path string) error {
	content, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil // not projected yet; readiness says so
	}
	if err != nil {
		return fmt.Errorf("reading keys: %w", err)
	}
	if bytes.Equal(content, s.read) {
		return nil
	}
	s.read = content // said once, however often it is read
	parsed, err := token.ParsePublicSet(content)
	if err != nil {
		return err
	}
	s.current.Store(parsed)
	return nil
}
