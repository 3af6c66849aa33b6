package load

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// fileTimer is a timerfd that is read through the runtime's poller: the poller's wait ends when the descriptor becomes
// readable, so the wait is as exact as the kernel's timers (some tens of microseconds) and holds no thread.
type fileTimer struct {
	fd   int // file's own; file keeps it open
	file *os.File
	buf  [8]byte
}

var _ Timer = (*fileTimer)(nil)

// NewTimer returns the most exact timer of this system. It serves one goroutine.
func NewTimer() (Timer, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create timerfd: %w", err)
	}
	return &fileTimer{fd: fd, file: os.NewFile(uintptr(fd), "timerfd")}, nil
}

// Until implements Timer.
func (t *fileTimer) Until(moment time.Time) error {
	wait := time.Until(moment)
	if wait <= 0 {
		return nil
	}
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(wait))}
	if err := unix.TimerfdSettime(t.fd, 0, &spec, nil); err != nil {
		return fmt.Errorf("set timerfd: %w", err)
	}
	if _, err := t.file.Read(t.buf[:]); err != nil {
		return fmt.Errorf("read timerfd: %w", err)
	}
	return nil
}

// Close implements Timer.
func (t *fileTimer) Close() error {
	return t.file.Close()
}
