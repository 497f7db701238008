// Command gateway serves Voiceroom's HTTP API, signalling and web page.
package main

import (
	"log/slog"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"

	"voiceroom.dev/voiceroom/cmd/internal/cli"
)

func main() { cli.Main(newCommand(logWith)) }

// logWith makes controller-runtime and client-go log with handler, for the rest of
// the process.
func logWith(handler slog.Handler) {
	ctrl.SetLogger(logr.FromSlogHandler(handler))
	klog.SetSlogLogger(slog.New(handler))
}
