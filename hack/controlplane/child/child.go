// Package child runs local processes that never outlive the program that started them.
//
// Every process gets a process group of its own, so that Ctrl-C in a terminal reaches only the parent, which then
// decides in which order its children end; and on Linux the kernel kills it when the parent dies without having
// stopped it (PR_SET_PDEATHSIG).
package child

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// ioGrace is how long output is still copied once the process itself has ended: a descendant that holds the pipe
// open must not keep Done from closing.
const ioGrace = 2 * time.Second

// Process is a started process. Its methods are safe for concurrent use.
type Process struct {
	cmd  *exec.Cmd
	done chan struct{}
}

// Start starts cmd in its own process group. It sets cmd's WaitDelay and adds to its SysProcAttr; the caller must not
// touch cmd afterwards. The process is reaped without further calls.
func Start(cmd *exec.Cmd) (*Process, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	bind(cmd.SysProcAttr)
	cmd.WaitDelay = ioGrace
	p := &Process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The kernel's parent-death signal follows the thread that forked, not the process (prctl(2)): this
		// goroutine keeps its thread for as long as the child lives.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		// The outcome is read from ProcessState; an error here adds only that output was cut short.
		_ = cmd.Wait()
		// What the process itself left running goes with it, as with the last process of a container. A group
		// that is already empty is the usual case.
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	return p, nil
}

// PID is the process's number, and its group's.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed once the process has ended and was reaped.
func (p *Process) Done() <-chan struct{} { return p.done }

// State describes how the process ended. It is nil before Done is closed.
func (p *Process) State() *os.ProcessState {
	select {
	case <-p.done:
		return p.cmd.ProcessState
	default:
		return nil
	}
}

// Terminate asks the process to end (SIGTERM) and returns at once.
func (p *Process) Terminate() {
	// An error means that it has ended already.
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
}

// Kill ends the process and its group with SIGKILL and returns at once.
func (p *Process) Kill() {
	select {
	case <-p.done:
		return // the group's number may belong to somebody else by now
	default:
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	}
}

// Stop ends the process: SIGTERM, and SIGKILL if it is still there after grace. It returns when the process was
// reaped.
func (p *Process) Stop(grace time.Duration) {
	p.Terminate()
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.done:
		return
	case <-timer.C:
	}
	p.Kill()
	<-p.done
}
