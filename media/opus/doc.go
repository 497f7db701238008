// Package opus is the codec of the audience's mix: libopus, with the build tags libopus and nolibopusfile, which need
// cgo, a C compiler, pkg-config and libopus (Debian: libopus-dev). Without them there is no codec, and a
// media server does not mix. Why it is so: docs/decisions/0021-the-mix-is-made-by-libopus.md.
package opus
