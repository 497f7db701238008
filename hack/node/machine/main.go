//go:build linux

// Command machine is the first process of a node that hack/node starts in namespaces of its own. It reads a spec.Machine
// (JSON) from stdin, sets the machine up, and runs its programs, each of which it starts again when it ends. When it is
// killed, everything on the machine ends: the kernel kills what is left in the namespace of a first process, and drops
// its mounts and network.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"voiceroom.dev/voiceroom/hack/node/spec"
)

// restartPause keeps a program that cannot run from using up the machine.
const restartPause = time.Second

func main() {
	var m spec.Machine
	err := json.NewDecoder(os.Stdin).Decode(&m)
	if err == nil {
		err = run(m)
	}
	fmt.Fprintln(os.Stderr, "machine:", err)
	os.Exit(1)
}

// run returns only if it fails.
func run(m spec.Machine) error {
	if err := setUp(m); err != nil {
		return err
	}
	running := map[int]spec.Program{}
	for _, program := range m.Programs {
		pid, err := start(m, program)
		if err != nil {
			return err
		}
		running[pid] = program
		if program.Serves == "" {
			continue
		}
		if err := waitForFile(pid, program); err != nil {
			return err
		}
	}
	return tend(m, running)
}

// start starts a program with its output in a file of its own.
func start(m spec.Machine, program spec.Program) (pid int, err error) {
	log, err := os.OpenFile(filepath.Join(m.LogDir, program.Name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return 0, fmt.Errorf("open a log: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(program.Command[0], program.Command[1:]...)
	cmd.Env = []string{"PATH=" + m.Path, "HOME=/root"}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("start %s: %w", program.Name, err)
	}
	return cmd.Process.Pid, nil
}

// waitForFile returns once the program has made the file that it is reached by.
func waitForFile(pid int, program spec.Program) error {
	for range 600 {
		if _, err := os.Stat(program.Serves); err == nil {
			return nil
		}
		if ended, _ := syscall.Wait4(pid, nil, syscall.WNOHANG, nil); ended == pid {
			return fmt.Errorf("%s ended; see its log", program.Name)
		}
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("%s does not serve %s after a minute", program.Name, program.Serves)
}

// tend collects every process that ends, as the first process of a namespace has to, and starts programs again.
func tend(m spec.Machine, running map[int]spec.Program) error {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("wait for processes: %w", err)
		}
		program, ok := running[pid]
		if !ok {
			continue
		}
		fmt.Fprintf(os.Stderr, "machine: %s ended with status %d, signal %d: starting it again\n",
			program.Name, status.ExitStatus(), status.Signal())
		delete(running, pid)
		time.Sleep(restartPause)
		if pid, err = start(m, program); err != nil {
			return err
		}
		running[pid] = program
	}
}
