// Command operator reconciles Voiceroom's resources.
package main

import "voiceroom.dev/voiceroom/cmd/internal/cli"

func main() {
	cmd := newCommand()
	cmd.AddCommand(newUninstall())
	cli.Main(cmd)
}
