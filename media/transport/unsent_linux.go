package transport

import "golang.org/x/sys/unix"

// unsent is how many bytes of a TCP connection wait to be sent for the first time. The option
// TCP_NOTSENT_LOWAT would not bound them: the kernel lets the last segment grow past it.
func unsent(fd uintptr) int {
	n, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQNSD)
	if err != nil {
		return 0
	}
	return n
}
