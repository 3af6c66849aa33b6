package audit

import "time"

// How much a node keeps: some two million lines.
const (
	MaxFile   = 64 << 20 // bytes
	KeepFiles = 8        // besides the one that is written
)

// rotatePause is how long a file goes on beyond MaxFile after no new one could be begun.
const rotatePause = time.Minute

// Of a disk that is slow or hangs.
const (
	maxQueue  = 4096            // lines that wait: 2 MB, and some seconds of a busy node
	writeWait = time.Second     // that a call waits for its line, once: a disk that takes longer has other troubles
	closeWait = 5 * time.Second // that Close waits for the lines that are left
)

// Lines a second of events that strangers can cause, or that come in masses. The rest is bounded by what people do.
const (
	maxRefused   = 100 // of failed logins, and as many of those that were not even tried: enough to see who and from where
	maxLogins    = 5000
	maxEndedByIt = 1000 // of sessions that ended by a rule: the sample of an expiry in masses
)

// ratesOf returns how many lines a second an event may have, 0 for any number.
func ratesOf(e Event) int {
	switch {
	case e.Name == LoginThrottled, e.Name == Login && e.Outcome != OK:
		return maxRefused
	case e.Name == Login, e.Name == Logout:
		return maxLogins
	case e.Name == SessionEnded && e.By == "":
		return maxEndedByIt
	}
	return 0
}
