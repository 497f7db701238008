// Package release says which version of Voiceroom a binary is.
package release

import "runtime/debug"

// version is set by the linker: -X voiceroom.dev/voiceroom/cmd/internal/release.version=v1.2.3
var version string

// Version is the release, else the module's version and the commit that the binary was
// built from, as far as the Go toolchain noted them.
func Version() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			v += " " + s.Value
		}
	}
	return v
}
