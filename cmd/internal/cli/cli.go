// Package cli is what the commands share: how they run as processes, and flags that
// mean the same.
package cli

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// Main runs cmd and exits. SIGINT and SIGTERM end the command's context; an error is one
// line on stderr and exit code 1. The command must not print errors itself.
func Main(cmd *cobra.Command) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := cmd.ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", cmd.Name(), err)
		os.Exit(1)
	}
}

// PublicURL reads the value of --public-url: where people reach the gateway. It has no
// path, for the page asks for its files from the root. An empty text is nil.
func PublicURL(text string) (*url.URL, error) {
	if text == "" {
		return nil, nil // none was given
	}
	at, err := url.Parse(strings.TrimSuffix(text, "/"))
	if err != nil || at.Host == "" || at.Scheme != "http" && at.Scheme != "https" || at.Path+at.RawQuery+at.Fragment != "" {
		return nil, fmt.Errorf("--public-url: %q is not an address such as https://voice.example.org", text)
	}
	return at, nil
}
