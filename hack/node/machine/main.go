//go:build linux

// Command machine is the first process of a node that hack/node starts in namespaces of its own. It reads a Spec (JSON) from
// stdin, sets the machine up and runs its programs. It ends when one of them does, and everything on the machine with it:
// the kernel kills what is left in the namespace of a first process, and drops its mounts and network.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"voiceroom.dev/voiceroom/hack/node/spec"
)

func main() {
	var m spec.Machine
	err := json.NewDecoder(os.Stdin).Decode(&m)
	if err == nil {
		err = run(m)
	}
	fmt.Fprintln(os.Stderr, "machine:", err)
	os.Exit(1)
}

// run returns when one of the programs has ended, or could not be started.
func run(m spec.Machine) error {
	if err := setUp(m); err != nil {
		return err
	}
	names := map[int]string{}
	for _, program := range m.Programs {
		pid, err := start(m, program)
		if err != nil {
			return err
		}
		names[pid] = program.Name
		if program.Serves == "" {
			continue
		}
		if err := waitForFile(pid, program); err != nil {
			return err
		}
	}
	return reap(names)
}

// start starts a program with its output in a file of its own.
func start(m spec.Machine, program spec.Program) (pid int, err error) {
	log, err := os.Create(filepath.Join(m.LogDir, program.Name+".log"))
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

// reap collects every process that ends, as the first process of a namespace has to, and returns when one of those
// named has ended.
func reap(names map[int]string) error {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("wait for processes: %w", err)
		}
		if name, ok := names[pid]; ok {
			return fmt.Errorf("%s ended with status %d, signal %d; see its log", name, status.ExitStatus(), status.Signal())
		}
	}
}
