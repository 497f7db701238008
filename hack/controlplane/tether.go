package controlplane

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// tether returns the path of a program that runs binary such that it dies with its parent, for processes that
// envtest starts: it asks for no parent-death signal itself, and takes nothing but a path. Where there is no
// setpriv(1) to do it, that is binary itself.
func tether(dir, binary string) (string, error) {
	binary, err := filepath.Abs(binary)
	if err != nil {
		return "", fmt.Errorf("find %s: %w", binary, err)
	}
	if _, err := os.Stat(binary); err != nil {
		return "", fmt.Errorf("find a control plane binary: %w", err)
	}
	setpriv, err := exec.LookPath("setpriv")
	if err != nil || exec.Command(setpriv, "--pdeathsig", "KILL", "true").Run() != nil {
		return binary, nil // without setpriv there is no tether
	}
	script := fmt.Sprintf("#!/bin/sh\nexec %s --pdeathsig KILL %s \"$@\"\n", quote(setpriv), quote(binary))
	path := filepath.Join(dir, filepath.Base(binary)+".sh")
	if err := os.WriteFile(path, []byte(script), 0o700); err != nil {
		return "", fmt.Errorf("write the start script of %s: %w", binary, err)
	}
	return path, nil
}

// quote makes s one word for a POSIX shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
