package peer

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// childAttr puts the child into a group of its own, so that Ctrl-C reaches this program first, which then stops it in
// order. The signal at the parent's death is a net for when this program is killed; it is sent when the *thread* that
// started the child ends, which Go's threads do only together with the program (or a goroutine locked to one: none here).
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// takePort chooses a port by a socket that has it and does not listen: the kernel gives it to nobody who asks for any, and
// leaves it to a server that asks for this one and reuses addresses, as all do here.
func takePort() (addr string, chosen, held io.Closer, err error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return "", nil, nil, fmt.Errorf("take a port: %w", err)
	}
	socket := os.NewFile(uintptr(fd), "port")
	loopback := [4]byte{127, 0, 0, 1}
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Addr: loopback})
	}
	var bound unix.Sockaddr
	if err == nil {
		bound, err = unix.Getsockname(fd)
	}
	at, ok := bound.(*unix.SockaddrInet4)
	if err == nil && !ok {
		err = unix.EAFNOSUPPORT
	}
	if err != nil {
		_ = socket.Close() // it is of no use
		return "", nil, nil, fmt.Errorf("take a port: %w", err)
	}
	return netip.AddrPortFrom(netip.AddrFrom4(loopback), uint16(at.Port)).String(), nil, socket, nil
}
