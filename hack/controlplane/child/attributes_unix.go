//go:build unix && !linux

package child

import "syscall"

// bind asks for a process group. It cannot ask for a parent-death signal here: a parent that is killed leaves its
// children behind.
func bind(attr *syscall.SysProcAttr) { attr.Setpgid = true }
