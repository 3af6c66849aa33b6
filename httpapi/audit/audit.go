// Package audit owns the audit log: one line of JSON for each thing that somebody may have to account for later, a login,
// a logout, an end of a session, a change of a user, role, realm, limit or member. It says who did what, to which session
// by its public handle, from where and with which outcome; never a token, a password or anything else that opens a door.
// What is an event, and when, is for its callers to know.
//
// A file that has grown to MaxFile makes way for a new one; the last KeepFiles are kept beside it as NAME.1, NAME.2 and so
// on, the newest first. Whoever wants more, or rotates by other means, moves them away and calls Reopen.
//
// A line is written before the call that it is about is answered, with one write to a file that is only appended to, so
// lines of one node are in order and whole. They are not synced: a machine that loses its power may lose the last ones.
// A line that can't be written stops nobody from logging in or out: it is counted, and the log says so once.
//
// Nor does a disk that hangs: that would be an outage, by what is there to account for things. One goroutine writes, from a
// queue. A call waits for its line for writeWait at most; when that was not enough, the calls after it do not wait until
// the writer has caught up, and their lines stay in the queue. What finds the queue full is lost, but not silently: it is
// counted, and as soon as the disk takes a line again, one says how many were lost (LinesLost).
//
// Strangers choose how often some events happen. Those have a bound a second, and the next line that is written says how
// many were left out: a disk full of failed logins would be an attack of its own.
package audit

import (
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"
)

// Event is one line. What is empty is left out.
type Event struct {
	Time    time.Time `json:"time"`
	Node    string    `json:"node"`
	Name    string    `json:"event"`
	Outcome string    `json:"outcome"`          // OK, or the stable code of the error
	Realm   string    `json:"realm,omitempty"`  // of the user that it is about
	User    string    `json:"user,omitempty"`   // that it is about
	Handle  string    `json:"handle,omitempty"` // of the session that it is about
	By      string    `json:"by,omitempty"`     // who did it, where it is not that user
	Client  string    `json:"client,omitempty"` // address
	Agent   string    `json:"agent,omitempty"`  // User-Agent of a login
	Request string    `json:"request,omitempty"`
	Reason  string    `json:"reason,omitempty"` // why a session ended
	Target  string    `json:"target,omitempty"` // role, realm or member that it is about
	Count   int       `json:"count,omitempty"`  // of what was done at once, or since the last such line
	Detail  string    `json:"detail,omitempty"`
	Omitted int       `json:"omitted,omitempty"` // lines of this event that were left out before it
}

// OK is the outcome of what was done.
const OK = "ok"

// Names of events.
const (
	Login          = "login"
	LoginThrottled = "login-throttled" // refused before the password was looked at
	Logout         = "logout"
	SessionEnded   = "session-ended"    // one session, by somebody else or by a rule: see Reason
	SessionsEnded  = "sessions-ended"   // all of a user, or all there are
	SessionsMade   = "sessions-made"    // by a service for its users
	Verified       = "sessions-checked" // by a service, many at once
	Changed        = "changed"          // a user, role, realm, limit or member: see Target and Detail
	LinesLost      = "lines-lost"       // Count of them, because the disk did not answer
)

// Log is an audit log. Its methods may be called from many goroutines.
type Log struct {
	cfg  Config
	sink sink

	mu      sync.Mutex // never held over I/O
	bounds  map[eventKind]*bound
	queue   []*entry
	idle    chan struct{} // closed when the writer has nothing to do; nil: it does not run
	closed  bool
	stalled bool   // the writer is behind: nobody waits for it
	broken  bool   // the last write failed
	untold  uint64 // lines lost that no line has told of
	stats   Stats
}

// Config is where the lines go.
type Config struct {
	Path   string    // of the file; "": to Output
	Output io.Writer // where there is no file; nil: nowhere
	Node   string    // written on each line
	Logger *slog.Logger
	Now    func() time.Time // nil: the wall clock, which is what a reader of the log compares with
}

// Open opens the file for appending, and makes it, for the owner's eyes alone, if there is none.
func Open(cfg Config) (*Log, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	l := &Log{cfg: cfg, bounds: map[eventKind]*bound{}}
	l.sink = sink{path: cfg.Path, output: cfg.Output, now: cfg.Now, complain: l.complain}
	if err := l.sink.open(); err != nil {
		return nil, err
	}
	return l, nil
}

// eventKind is what a bound is for.
type eventKind struct {
	name     string
	ok, rule bool
}

// bound counts an event's lines within a second.
type bound struct {
	second  int64
	lines   int
	omitted int
}

func (b *bound) admit(at time.Time, most int) bool {
	if second := at.Unix(); second != b.second {
		b.second, b.lines = second, 0
	}
	if b.lines >= most {
		b.omitted++
		return false
	}
	b.lines++
	return true
}

// Stats counts lines.
type Stats struct {
	Written uint64
	Failed  uint64 // that could not be written
	Omitted uint64 // over the bound of their event
	Lost    uint64 // that found the queue full
	Waiting int    // in the queue
}

// Stats returns the counters since the start.
func (l *Log) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	stats := l.stats
	stats.Waiting = len(l.queue)
	return stats
}

// Reopen opens the file anew, for whoever has moved the old one out of the way. When that fails, the old one goes on.
func (l *Log) Reopen() error { return l.sink.reopen() }

// Close writes what is in the queue and closes the file. What is written afterwards is lost. It does not wait for longer than
// closeWait for a disk that does not answer.
func (l *Log) Close() error {
	l.mu.Lock()
	l.closed = true
	idle := l.idle
	l.mu.Unlock()
	if idle != nil {
		timer := time.NewTimer(closeWait)
		defer timer.Stop()
		select {
		case <-idle:
		case <-timer.C:
			return fmt.Errorf("close audit log: %w: %d lines are not written", errHangs, l.Stats().Waiting+1)
		}
	}
	return l.sink.close()
}
