// Command media is a media pod's server: it holds one voice room, and exits when
// that room has ended.
package main

import "voiceroom.dev/voiceroom/cmd/internal/cli"

func main() { cli.Main(newCommand()) }
