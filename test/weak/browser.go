package weak

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// browser is a process with one page.
type browser struct{ cmd *exec.Cmd }

// chromium opens a page in a Chromium without a window: CHROMIUM, or Debian's.
func chromium(ctx context.Context, scratch, url string) (*browser, error) {
	flags := []string{
		"--headless=new", "--disable-gpu", "--no-first-run", "--user-data-dir=" + filepath.Join(scratch, "chromium"),
		"--autoplay-policy=no-user-gesture-required", // it plays what it hears
		// It is as important as any page, though nobody sees it.
		"--disable-background-timer-throttling", "--disable-renderer-backgrounding", "--disable-backgrounding-occluded-windows",
	}
	if os.Getuid() == 0 {
		flags = append(flags, "--no-sandbox") // it refuses to run as root, as whom containers often run tests
	}
	return start(ctx, cmp.Or(os.Getenv("CHROMIUM"), "/usr/bin/chromium"), append(flags, url+"/?chromium")...)
}

// firefoxPrefs let a page play without a click.
const firefoxPrefs = `user_pref("media.autoplay.default", 0);
user_pref("media.autoplay.blocking_policy", 0);
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("app.update.enabled", false);
`

// firefox opens a page in a Firefox without a window: FIREFOX, or Debian's.
func firefox(ctx context.Context, scratch, url string) (*browser, error) {
	profile := filepath.Join(scratch, "firefox")
	if err := os.Mkdir(profile, 0o700); err != nil {
		return nil, fmt.Errorf("making a profile for Firefox: %w", err)
	}
	if err := os.WriteFile(filepath.Join(profile, "user.js"), []byte(firefoxPrefs), 0o600); err != nil {
		return nil, fmt.Errorf("making a profile for Firefox: %w", err)
	}
	return start(ctx, cmp.Or(os.Getenv("FIREFOX"), "/usr/bin/firefox-esr"), "--headless", "--no-remote", "--profile", profile, url+"/?firefox")
}

// start starts a browser as the leader of its processes, who end with it.
func start(ctx context.Context, path string, args ...string) (*browser, error) {
	b := &browser{cmd: exec.CommandContext(ctx, path, args...)}
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	b.cmd.Cancel = func() error { return syscall.Kill(-b.cmd.Process.Pid, syscall.SIGKILL) }
	if err := b.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", path, err)
	}
	return b, nil
}

// close ends the browser, whose context has ended, and waits for it.
func (b *browser) close() { _ = b.cmd.Wait() }
