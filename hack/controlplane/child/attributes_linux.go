package child

import "syscall"

// bind asks for a process group and for a death with the parent.
func bind(attr *syscall.SysProcAttr) { attr.Setpgid, attr.Pdeathsig = true, syscall.SIGKILL }
