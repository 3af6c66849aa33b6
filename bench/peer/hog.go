package peer

import (
	"context"
	"fmt"
)

// Hog keeps one processor busy until ctx ends.
func Hog(ctx context.Context) {
	for x := uint64(1); ; x = x*6364136223846793005 + 1442695040888963407 {
		if x%(1<<20) == 1 && ctx.Err() != nil {
			return
		}
	}
}

// Hogs are processes that do nothing but take processor time away from the others.
type Hogs struct {
	argv      []string
	processes []*process
}

// NewHogs returns them; argv starts a process that calls Hog.
func NewHogs(argv ...string) *Hogs { return &Hogs{argv: argv} }

// Start starts n of them; their output goes to files in dir. Stop is called after a failed Start too.
func (h *Hogs) Start(dir string, n int) error {
	for i := range n {
		p, err := startProcess(dir, fmt.Sprintf("hog%d", i+1), nil, h.argv...)
		if p != nil {
			h.processes = append(h.processes, p)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Ended says which of them has ended by itself, and how; nil: none.
func (h *Hogs) Ended() error {
	for _, p := range h.processes {
		if p.ended() {
			return fmt.Errorf("%s ended: %w: %s", p.name, p.endedWith(), p.logTail())
		}
	}
	return nil
}

// Stop stops them.
func (h *Hogs) Stop() error {
	err := stopAll(h.processes)
	h.processes = nil
	return err
}
