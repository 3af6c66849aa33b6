package wire

import (
	"fmt"
	"math"

	"cloakroom/cluster/session"
)

// helloVersion is the version of a hello's encoding. It will hardly ever change: nodes of all versions must understand
// each other's hello, or at least be told why they can't speak. A later version adds elements at the end, which earlier
// ones do not look at.
const helloVersion = 1

// What the first element of the array says.
const (
	sortHello   = 1 // [1, node id, lowest version, highest version, cluster id]
	sortRefusal = 2 // [2, code, message]
)

// The protocol versions that this build speaks in frames: which frames there are, and how a frame is encoded. Bodies have
// versions of their own, which the packages that make the requests own, and the log's commands have theirs.
const (
	MinProtocol uint8 = 1
	MaxProtocol uint8 = 1
)

// hello is how a node introduces itself.
type hello struct {
	nodeID   string
	min, max uint8  // protocol versions
	cluster  string // "": not known yet
}

func (h hello) encode() []byte {
	p := newPacker(helloVersion, 5, MaxHello)
	p.uint(sortHello)
	p.text(h.nodeID)
	p.uint(uint64(h.min))
	p.uint(uint64(h.max))
	p.text(h.cluster)
	return p.block()
}

func encodeRefusal(e *session.Error) []byte {
	p := newPacker(helloVersion, 3, MaxHello)
	p.uint(sortRefusal)
	p.text(cut(e.Code, maxErrorCode))
	p.text(cut(e.Message, maxErrorText))
	return p.block()
}

// decodeHello reads a block without its length: a hello, or the refusal of one.
func decodeHello(block []byte) (h hello, refusal *session.Error, err error) {
	if len(block) > 0 && block[0] != helloVersion {
		return hello{}, nil, fmt.Errorf("hello of encoding %d: %w", block[0], ErrVersion)
	}
	u := newUnpacker(block, helloVersion)
	n := u.arrayLen()
	known := 0 // elements
	switch sort := u.uint(math.MaxUint8); {
	case u.err != nil:
	case sort == sortHello && n >= 5:
		known = 5
		h.nodeID = u.text(MaxNodeID)
		h.min = uint8(u.uint(math.MaxUint8))
		h.max = uint8(u.uint(math.MaxUint8))
		h.cluster = u.text(MaxClusterID)
	case sort == sortRefusal && n >= 3:
		known = 3
		refusal = &session.Error{Code: u.text(maxErrorCode), Message: u.text(maxErrorText)}
	default:
		u.err = fmt.Errorf("sort %d with %d elements", sort, n)
	}
	if err := u.endAfter(known, n); err != nil {
		return hello{}, nil, fmt.Errorf("%w: %w", errHello, err)
	}
	if refusal != nil {
		return hello{}, refusal, nil
	}
	if h.nodeID == "" || h.min == 0 || h.min > h.max {
		return hello{}, nil, fmt.Errorf("%w: no node id or version", errHello)
	}
	return h, nil, nil
}

// accept says whether a node that is own may speak with one that says peer and whose certificate is for certID.
func (own hello) accept(peer hello, certID string) error {
	switch {
	case peer.nodeID != certID:
		return ErrIdentity
	case own.min > peer.max || peer.min > own.max:
		return noCommonVersion(own, peer)
	case foreign(own.cluster, peer.cluster):
		return ErrOtherCluster
	}
	return nil
}

// noCommonVersion is ErrVersion with what either node speaks, for the people at both ends.
func noCommonVersion(a, b hello) error {
	return &session.Error{Code: ErrVersion.Code, Message: fmt.Sprintf("%s (node %s speaks %s, node %s %s)",
		ErrVersion.Message, a.nodeID, a.versions(), b.nodeID, b.versions())}
}

func (h hello) versions() string {
	if h.min == h.max {
		return fmt.Sprintf("version %d", h.min)
	}
	return fmt.Sprintf("versions %d to %d", h.min, h.max)
}

// foreign says whether two cluster ids, both known, differ.
func foreign(a, b string) bool { return a != "" && b != "" && a != b }
