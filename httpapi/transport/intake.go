package transport

import (
	"errors"
	"io"
	"net"
	"syscall"
)

// intake reads the requests of a connection that the lane answers, with one system call for each. An ordinary Read of a
// socket asks the kernel first, is told that there is nothing yet, as the client has only just been answered, then waits for
// the runtime's poller, and asks again. Here the answer is sent while the read is under way, which goes on with the waiting.
//
// That is safe as long as nothing that came before the wait was missed. The poller tells of what has come once; within one
// read it forgets nothing of that (internal/poll.FD.RawRead); and who has read less than there was room for has read all
// that had come. The one exception is a client that says with its request, in the same moment, that no other will follow:
// that is told once too. So after a lull the connection is looked at in the ordinary way.
type intake struct {
	raw syscall.RawConn
	own *Conn
	try func(fd uintptr) bool // step, made once
	ask func(fd uintptr, b []byte) (int, error)

	b    []byte
	n    int
	err  error
	shut bool // the connection was closed while its request was being answered
}

// newIntake returns nil for what is no socket of this system's.
func newIntake(c *Conn) *intake {
	socket, ok := c.Conn.(syscall.Conn)
	if !ok || !oneRead {
		return nil
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return nil
	}
	in := &intake{raw: raw, own: c, ask: readSocket}
	in.try = in.step
	return in
}

// read is Conn.Read between two requests.
func (in *intake) read(b []byte) (int, error) {
	in.b, in.n, in.err, in.shut = b, 0, nil, false
	err := in.raw.Read(in.try)
	in.b = nil
	if err == nil {
		err = in.err
	}
	if in.shut { // not before: Close waits for reads that are under way
		err = errors.Join(net.ErrClosed, in.own.close())
	}
	return in.n, err
}

// step reads and answers what has come. False: wait for more.
func (in *intake) step(fd uintptr) bool {
	for {
		n, err := in.ask(fd, in.b)
		switch {
		case err == nil && n == 0:
			in.err = io.EOF
			return true
		case err == nil:
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EAGAIN):
			return false
		default:
			in.err = &net.OpError{Op: "read", Net: "tcp", Err: err}
			return true
		}
		answered, shut, err := in.own.offer(in.b, n)
		if in.shut = shut; shut {
			return true
		}
		if err != nil {
			in.err = err
			return true
		}
		if !answered {
			in.n = n
			return true
		}
		if n < len(in.b) {
			return false
		}
	}
}
