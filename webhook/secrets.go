package webhook

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

// The sizes of a secret, in bytes, that Standard Webhooks asks for.
const minSecret, maxSecret = 24, 64

// Keys sign deliveries: each delivery with all of them, so that a receiver may verify
// with the old or the new one while secrets are changed.
type Keys []*standardwebhooks.Webhook

// ParseSecrets reads secrets, one a line: base64 of 24 to 64 random bytes, with or
// without the prefix whsec_. Blank lines are skipped. Errors name the line, never the
// secret.
func ParseSecrets(text []byte) (Keys, error) {
	var keys Keys
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		secret := strings.TrimPrefix(strings.TrimSpace(line), "whsec_")
		if secret == "" {
			continue
		}
		raw, err := base64.StdEncoding.DecodeString(secret)
		if err != nil {
			return nil, fmt.Errorf("webhook secret in line %d: it is not base64", number)
		}
		if len(raw) < minSecret || len(raw) > maxSecret {
			return nil, fmt.Errorf("webhook secret in line %d: it has %d bytes, not %d to %d", number, len(raw), minSecret, maxSecret)
		}
		key, err := standardwebhooks.NewWebhookRaw(raw)
		if err != nil {
			return nil, fmt.Errorf("webhook secret in line %d: %w", number, err)
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.New("there is no webhook secret")
	}
	return keys, nil
}

// sign returns the value of the header webhook-signature.
func (k Keys) sign(id string, at time.Time, body []byte) (string, error) {
	signatures := make([]string, len(k))
	for i, key := range k {
		s, err := key.Sign(id, at, body)
		if err != nil {
			return "", fmt.Errorf("signing webhook %s: %w", id, err)
		}
		signatures[i] = s
	}
	return strings.Join(signatures, " "), nil
}
