// Command chat is the chat server that Voiceroom brings along: nats-server with
// JetStream in one process, set up so that what it acknowledged is on disk.
package main

import "voiceroom.dev/voiceroom/cmd/internal/cli"

func main() { cli.Main(newCommand()) }
