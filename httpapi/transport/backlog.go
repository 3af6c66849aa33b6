package transport

import (
	"errors"
	"net"
	"os"
	"time"
)

// Retire has Accept take the connections that the system has made already, and then close: to close over them would
// reset them, and a request that somebody has sent on one would be lost. It reports whether that has begun now.
func (l *Listener) Retire() bool {
	inner, ok := l.Listener.(interface{ SetDeadline(time.Time) error })
	if !ok {
		return false
	}
	return !l.leaving.Swap(true) && inner.SetDeadline(time.Now()) == nil
}

// leave says what Accept does about an error: nil, take what there still is, or the error to return. That of a listener
// that has retired is the one of a closed listener, which is no failure.
func (l *Listener) leave(err error) error {
	if !l.leaving.Load() || !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	// The first deadline has only woken Accept. More than one more, and as many after each connection: the machine may be
	// too busy to look in time. Where connections never cease, the end of the server is the end of it.
	inner, ok := l.Listener.(interface{ SetDeadline(time.Time) error })
	if ok && l.rounds < backlogRounds && inner.SetDeadline(time.Now().Add(backlogTime)) == nil {
		l.rounds++
		return nil
	}
	return errors.Join(net.ErrClosed, l.Close())
}
