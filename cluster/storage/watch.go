package storage

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Watch looks at the writes to the node's disk: how long they take, and what their errors mean.
type Watch struct {
	Limit  time.Duration                         // for one write
	OnFail func(error)                           // ends the node; must not block
	OnSlow func(what string, took time.Duration) // of a write that was done and took long; nil: nobody is told
}

// Must carries out a write that the node can't go on without: one that fails ends it, and one that stalls.
func (w Watch) Must(what string, write func() error) error {
	begun := time.Now()
	err := w.Try(what, w.Limit, func() error {
		delayDisk()
		return write()
	})
	if err != nil {
		w.OnFail(err)
		return err
	}
	if took := time.Since(begun); took >= slowWrite && w.OnSlow != nil {
		w.OnSlow(what, took)
	}
	return nil
}

// LateWrites says that the disk is slow, now and then.
type LateWrites struct {
	Logger *slog.Logger

	mu      sync.Mutex
	told    time.Time
	omitted int           // slow writes since then
	longest time.Duration // of these
}

// Note is told of a write that took long.
func (s *LateWrites) Note(what string, took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.omitted++
	s.longest = max(s.longest, took)
	if !s.told.IsZero() && time.Since(s.told) < slowTold {
		return
	}
	s.Logger.Warn("the disk of the data directory is slow: every change waits for the disks of a majority",
		"write", what, "took", s.longest.Round(time.Millisecond), "slow_writes", s.omitted)
	s.told, s.omitted, s.longest = time.Now(), 0, 0
}

// Try carries out a write that may fail, and be tried again. One that takes longer than the limit ends the node all the
// same, at that moment: the disk is no better for the next one.
func (w Watch) Try(what string, limit time.Duration, write func() error) error {
	stalled := time.AfterFunc(limit, func() { w.OnFail(fmt.Errorf("%s: not done after %v: %w", what, limit, ErrStalled)) })
	defer stalled.Stop()
	return Failed(what, write())
}

// Failed says what was done, and names the one reason that people can do something about.
func Failed(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case noSpace(err):
		return fmt.Errorf("%s: %w: %w", what, ErrDiskFull, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// noSpace reports whether a disk, or the part of it that this user may have, is full. The log's database keeps only the
// words of some errors.
func noSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || strings.Contains(err.Error(), syscall.ENOSPC.Error())
}
