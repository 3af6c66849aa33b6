package consensus

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"
)

// diskWatch looks at the writes to the node's disk: how long they take, and what their errors mean.
type diskWatch struct {
	limit  time.Duration // for one write
	onFail func(error)   // ends the node; must not block
}

// must carries out a write that the node can't go on without: one that fails ends it, and one that stalls.
func (w diskWatch) must(what string, write func() error) error {
	err := w.try(what, w.limit, write)
	if err != nil {
		w.onFail(err)
	}
	return err
}

// try carries out a write that may fail, and be tried again. One that takes longer than the limit ends the node all the
// same, at that moment: the disk is no better for the next one.
func (w diskWatch) try(what string, limit time.Duration, write func() error) error {
	stalled := time.AfterFunc(limit, func() { w.onFail(fmt.Errorf("%s: not done after %v: %w", what, limit, ErrStalled)) })
	defer stalled.Stop()
	return diskError(what, write())
}

// diskError says what was done, and names the one reason that people can do something about.
func diskError(what string, err error) error {
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
