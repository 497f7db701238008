//go:build unix && !linux

package child

import "syscall"

// attributes cannot ask for a parent-death signal here: a parent that is killed leaves its children behind.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
