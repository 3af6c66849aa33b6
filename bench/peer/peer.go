// Package peer owns how each of the measured programs is started, filled and asked; when requests are sent and how
// they are counted belongs to load. It imports nothing of the product, which is a peer among others here.
package peer

import (
	"context"
	"errors"
	"fmt"

	"cloakroom/bench/load"
)

// Peer is a program that can be measured. Start comes first, Stop last; the others are used in between.
type Peer interface {
	Name() string
	// Start starts the program's processes with their data and logs under dir, and returns when they answer. It
	// returns ErrAbsent when the program is not installed. Stop is called after a failed Start too.
	Start(ctx context.Context, dir string) error
	// Fill stores n values that Lookup and Put then pick from.
	Fill(ctx context.Context, n int) error
	// Lookup and Put return how one worker asks, or ErrNotOffered.
	Lookup(level Level) (load.Open, error)
	Put() (load.Open, error)
	// PIDs are the server's processes: their CPU time is part of what is measured.
	PIDs() []int
	// Note says what a reader must know to compare fairly.
	Note() string
	Stop() error
}

// Level is how fresh a looked up value must be.
type Level string

// The levels. Each peer has its own word for them.
const (
	Local  Level = "local"  // whatever the asked node has
	Lease  Level = "lease"  // linearizable, by a clock
	Quorum Level = "quorum" // linearizable, by asking a majority
)

// Why a peer is left out.
var (
	ErrAbsent     = errors.New("not installed")
	ErrNotOffered = errors.New("not offered")
)

// ParseLevel reads a level; "" is the server's own choice.
func ParseLevel(text string) (Level, error) {
	switch level := Level(text); level {
	case "", Local, Lease, Quorum:
		return level, nil
	}
	return "", fmt.Errorf("consistency %q: need lease, local or quorum", text)
}
