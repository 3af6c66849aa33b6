package load

import "time"

// Timer waits for moments. The runtime's own timers are rounded up to a millisecond when a process is otherwise idle,
// which is more than most of the latencies measured here; NewTimer is as exact as the system allows.
type Timer interface {
	Until(t time.Time) error // returns at once when t has passed
	Close() error
}

// SleepTimer is the runtime's timer, for systems without a better one and for fake time.
type SleepTimer struct{}

var _ Timer = SleepTimer{}

// Until implements Timer.
func (SleepTimer) Until(t time.Time) error {
	time.Sleep(time.Until(t))
	return nil
}

// Close implements Timer.
func (SleepTimer) Close() error { return nil }
