//go:build !libopus

package opus

import "voiceroom.dev/voiceroom/media/mix"

// New returns nil: this build has no codec.
func New() mix.Codec { return nil }
