package audit

import (
	"encoding/json"
	"errors"
	"time"
)

var errHangs = errors.New("the disk does not answer")

// entry is a line on its way to the disk.
type entry struct {
	line    []byte
	omitted int // lines before it that it tells of
	bound   *bound
	done    chan struct{} // closed when it has been written, or could not be
}

// Write writes an event's line, with the time and the node.
func (l *Log) Write(e Event) {
	entry, wait := l.enqueue(e)
	if !wait {
		return
	}
	timer := time.NewTimer(writeWait)
	defer timer.Stop()
	select {
	case <-entry.done:
	case <-timer.C:
		l.stall(entry)
	}
}

// enqueue makes an event's line. It reports whether to wait for it.
func (l *Log) enqueue(e Event) (*entry, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.Time, e.Node = l.cfg.Now().UTC(), l.cfg.Node
	// What succeeds and what fails has a bound of its own: many of one must not hide the other.
	kind := eventKind{e.Name, e.Outcome == OK, e.By == ""}
	b := l.bounds[kind]
	if b == nil {
		b = &bound{} // there are a few constants of them
		l.bounds[kind] = b
	}
	if most := ratesOf(e); most > 0 && !b.admit(e.Time, most) {
		l.stats.Omitted++
		return nil, false
	}
	if l.closed || len(l.queue) >= maxQueue {
		l.stats.Lost++
		l.untold++
		return nil, false
	}
	e.Omitted += b.omitted
	b.omitted = 0
	next := &entry{line: lineOf(e), omitted: e.Omitted, bound: b, done: make(chan struct{})}
	l.queue = append(l.queue, next)
	if l.idle == nil {
		l.idle = make(chan struct{})
		go l.write(l.idle) // ends when the queue is empty; Close waits for that
	}
	return next, !l.stalled
}

func lineOf(e Event) []byte {
	line, err := json.Marshal(e)
	if err != nil {
		panic("BUG: event does not marshal: " + err.Error())
	}
	return append(line, '\n')
}

// stall notes that a line has waited for too long, unless it has been written at the same moment.
func (l *Log) stall(e *entry) {
	l.mu.Lock()
	select {
	case <-e.done:
		l.mu.Unlock()
		return
	default:
	}
	first := !l.stalled
	l.stalled = true
	l.mu.Unlock()
	if first && l.cfg.Logger != nil {
		l.cfg.Logger.Error("the audit log's disk does not answer: lines wait in memory, and are lost when there are too many", "path", l.cfg.Path, "lines", maxQueue)
	}
}

// write is the writer. It writes until the queue is empty.
func (l *Log) write(idle chan struct{}) {
	for {
		next, lost, more := l.next()
		if !more {
			close(idle)
			return
		}
		if next == nil {
			l.tellLost(lost)
			continue
		}
		err := l.sink.write(next.line)
		if err != nil {
			l.complain(err)
		}
		l.mu.Lock()
		mended := err == nil && l.broken
		if err != nil {
			next.bound.omitted += next.omitted + 1
			l.stats.Failed++
		} else {
			l.stats.Written++
			l.broken = false
		}
		failed := l.stats.Failed
		close(next.done)
		l.mu.Unlock()
		if mended && l.cfg.Logger != nil {
			l.cfg.Logger.Info("the audit log is written again: what is missing is counted in its next lines", "path", l.cfg.Path, "failed_since_start", failed)
		}
	}
}

// next returns what to write: that lines were lost, which goes before all else, or the next of the queue. When there is
// nothing the writer has caught up.
func (l *Log) next() (e *entry, lost uint64, more bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.untold > 0 && !l.broken:
		lost, l.untold = l.untold, 0
		return nil, lost, true
	case len(l.queue) > 0:
		e, l.queue = l.queue[0], l.queue[1:]
		return e, 0, true
	}
	l.idle, l.queue, l.stalled = nil, nil, false
	return nil, 0, false
}

// tellLost writes how many lines were lost. If it can't, the number stays for later.
func (l *Log) tellLost(n uint64) {
	e := Event{Time: l.cfg.Now().UTC(), Node: l.cfg.Node, Name: LinesLost, Outcome: "disk-hangs", Count: int(n)}
	err := l.sink.write(lineOf(e))
	if err != nil {
		l.complain(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.untold += n
		return
	}
	l.stats.Written++
}

// complain logs an error unless it is one in a row.
func (l *Log) complain(err error) {
	l.mu.Lock()
	first := !l.broken
	l.broken = true
	l.mu.Unlock()
	if first && l.cfg.Logger != nil {
		l.cfg.Logger.Error("the audit log can't be written: make room, or mend its directory", "path", l.cfg.Path, "error", err)
	}
}
