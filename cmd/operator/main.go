// Command operator reconciles Voiceroom's resources.
package main

import "voiceroom.dev/voiceroom/cmd/internal/cli"

func main() { cli.Main(newCommand()) }
