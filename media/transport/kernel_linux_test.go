package transport

import (
	"os"
	"os/exec"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// kernelVariable names the kernel that a test process is to find itself on.
const kernelVariable = "VOICEROOM_TEST_KERNEL"

// kernel is one that lacks something: the system call, if it is made with these second and third
// arguments (0: any), fails.
type kernel struct {
	call          uint32
	level, option uint32
	errno         unix.Errno
	check         func(t *testing.T)
}

// kernels are tested each in a process of its own, whose system calls a filter answers.
var kernels = map[string]kernel{
	"without sendmmsg":          {call: unix.SYS_SENDMMSG, errno: unix.ENOSYS, check: checkOneByOne},
	"without UDP_SEGMENT":       {call: unix.SYS_GETSOCKOPT, level: unix.IPPROTO_UDP, option: unix.UDP_SEGMENT, errno: unix.ENOPROTOOPT, check: checkNoRuns},
	"without SO_REUSEPORT":      {call: unix.SYS_SETSOCKOPT, level: unix.SOL_SOCKET, option: unix.SO_REUSEPORT, errno: unix.ENOPROTOOPT, check: checkOneSocket},
	"without checksum offload":  {call: unix.SYS_SENDMMSG, errno: unix.EIO, check: checkRunsRefused},
	"with a path of a low MTU":  {call: unix.SYS_SENDMMSG, errno: unix.EMSGSIZE, check: checkLowMTU},
	"without room for anything": {call: unix.SYS_SENDMMSG, errno: unix.EAGAIN, check: checkNoRoom},
}

func TestKernels(t *testing.T) {
	for name, k := range kernels {
		t.Run(name, func(t *testing.T) {
			if os.Getenv(kernelVariable) == name {
				k.filter(t)
				k.check(t)
				return
			}
			t.Parallel()
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			child := exec.Command(self, "-test.run=^TestKernels$/^"+name+"$", "-test.v")
			child.Env = append(os.Environ(), kernelVariable+"="+name)
			if out, err := child.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// filter makes the system call fail in all threads of this process, for good (seccomp(2)).
func (k *kernel) filter(t *testing.T) {
	const (
		equal   = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		load    = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		give    = unix.BPF_RET | unix.BPF_K
		fromArg = 16 // of struct seccomp_data: the low halves of six 64-bit arguments lie every 8 bytes
	)
	program := []unix.SockFilter{{Code: load}, {Code: equal, Jf: 1, K: k.call}}
	if k.option != 0 {
		program = []unix.SockFilter{
			{Code: load}, {Code: equal, Jf: 5, K: k.call},
			{Code: load, K: fromArg + 8}, {Code: equal, Jf: 3, K: k.level},
			{Code: load, K: fromArg + 16}, {Code: equal, Jf: 1, K: k.option},
		}
	}
	program = append(program, unix.SockFilter{Code: give, K: unix.SECCOMP_RET_ERRNO | uint32(k.errno)}, unix.SockFilter{Code: give, K: unix.SECCOMP_RET_ALLOW})

	runtime.LockOSThread() // a thread that gives up new privileges may filter
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	filter := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	if _, _, err := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC,
		uintptr(unsafe.Pointer(&filter))); err != 0 {
		t.Fatalf("filter system calls: %v", err)
	}
}

// A kernel without sendmmsg still cuts runs.
func checkOneByOne(t *testing.T) {
	s := newServer(t)
	c, h := reached(t, s, s.Addr())
	b := s.NewBatch(0)
	packets := numbered(0, 9, 100, 100)
	for i := 0; i < len(packets); i += 300 {
		c.Queue(b, packets[i:i+300], 100)
	}
	b.Flush()
	h.expect(packets, 100)
	if n := &s.counters; n.Sent.Load() != 9 || n.SentRuns.Load() != 3 || n.SendCalls.Load() != 4 {
		t.Errorf("%d packets, %d runs, %d calls; want 9, 3 and 4, of which one showed that sendmmsg is missing",
			n.Sent.Load(), n.SentRuns.Load(), n.SendCalls.Load())
	}
}

func checkNoRuns(t *testing.T) {
	s := newServer(t)
	c, h := reached(t, s, s.Addr())
	if c.Runs() {
		t.Error("runs are said to save something")
	}
	b := s.NewBatch(0)
	packets := numbered(0, batchSize+9, 100, 50)
	c.Queue(b, packets, 100)
	b.Flush()
	h.expect(packets, 100)
	if n := &s.counters; n.Sent.Load() != batchSize+9 || n.SentRuns.Load() != 0 || n.SendCalls.Load() != 2 {
		t.Errorf("%d packets, %d runs, %d calls; want %d, 0 and 2", n.Sent.Load(), n.SentRuns.Load(), n.SendCalls.Load(), batchSize+9)
	}
}

func checkOneSocket(t *testing.T) {
	s := newServerOn(t, Config{Listen: loopback, Sockets: 3})
	if s.Sockets() != 1 {
		t.Errorf("%d sockets", s.Sockets())
	}
	c, h := reached(t, s, s.Addr())
	b := s.NewBatch(2)
	packets := numbered(0, 3, 100, 100)
	c.Queue(b, packets, 100)
	b.Flush()
	h.expect(packets, 100)
}

// Runs that are refused go out packet by packet, until there are no more runs.
func checkRunsRefused(t *testing.T) {
	s := newServer(t)
	c, h := reached(t, s, s.Addr())
	b := s.NewBatch(0)
	for i := range maxRefusals {
		if !c.Runs() {
			t.Fatalf("no runs after %d were refused", i)
		}
		packets := numbered(i, 3, 100, 50)
		c.Queue(b, packets, 100)
		b.Flush()
		h.expect(packets, 100)
	}
	if c.Runs() {
		t.Error("runs are still said to save something")
	}
	if n := &s.counters; n.Sent.Load() != 3*maxRefusals || n.RunsRefused.Load() != maxRefusals || n.SendFailed.Load() != 0 {
		t.Errorf("%d packets sent, %d runs refused, %d packets failed; want %d, %d and 0",
			n.Sent.Load(), n.RunsRefused.Load(), n.SendFailed.Load(), 3*maxRefusals, maxRefusals)
	}
}

// A segment that is too large for one path is no reason to give up runs.
func checkLowMTU(t *testing.T) {
	s := newServer(t)
	c, h := reached(t, s, s.Addr())
	b := s.NewBatch(0)
	for i := range 2 * maxRefusals {
		packets := numbered(i, 3, 100, 50)
		c.Queue(b, packets, 100)
		b.Flush()
		h.expect(packets, 100)
	}
	if !c.Runs() {
		t.Error("no runs any more")
	}
}

// Nobody waits for room, and every packet is counted.
func checkNoRoom(t *testing.T) {
	s := newServer(t)
	c, _ := reached(t, s, s.Addr())
	b := s.NewBatch(0)
	for range batchSize {
		c.Queue(b, numbered(0, 3, 100, 50), 100)
	}
	b.Flush()
	if n := &s.counters; n.Sent.Load() != 0 || n.SendDropped.Load() != 3*batchSize || n.SendCalls.Load() != batchSize {
		t.Errorf("%d packets sent, %d dropped in %d calls; want 0, %d and %d", n.Sent.Load(), n.SendDropped.Load(), n.SendCalls.Load(), 3*batchSize, batchSize)
	}
}
