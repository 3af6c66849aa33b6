package lookup

import "fmt"

// Level says how fresh a read must be.
type Level uint8

// The levels, weakest first, so that a stronger one compares greater.
const (
	// Local is whatever this node has applied. It may be old, and it may be answered by a node that is cut off.
	Local Level = 1
	// Lease is linearizable, and answered from this node's memory as long as it holds a read lease. It trusts that the
	// rates of the nodes' clocks differ by little, and that no machine stands still together with its clock for long.
	Lease Level = 2
	// Quorum is linearizable and trusts no clock: the leader confirms its office by a round to a majority of voters, and
	// this node waits until it has applied what was committed when that round began.
	Quorum Level = 3
)

// ParseLevel reads a level's name, "lease", "quorum" or "local".
func ParseLevel(name string) (Level, error) {
	switch name {
	case "local":
		return Local, nil
	case "lease":
		return Lease, nil
	case "quorum":
		return Quorum, nil
	}
	return 0, fmt.Errorf("consistency %q: must be lease, quorum or local", name)
}

func (l Level) String() string {
	switch l {
	case Local:
		return "local"
	case Lease:
		return "lease"
	case Quorum:
		return "quorum"
	}
	return fmt.Sprintf("level(%d)", uint8(l))
}
