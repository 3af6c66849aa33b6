package lease

import "time"

// Event is what has happened on or to a node. The types below implement it, and the messages do.
type Event interface{ event() }

// What happens on a node.
type (
	// Stored says that entries were written to this node's log, the latest of this Term. It must be stepped before
	// the node can become leader.
	Stored struct{ Term uint64 }
	// Restoring says that a snapshot is about to replace the table. It must be stepped before any lookup can see that.
	Restoring struct{}
	// Restored says that the table is that of a snapshot up to Applied (also at a start).
	Restored struct{ Applied uint64 }
	// Applied says that the effects of the log are visible up to Index, whose entry has Term.
	Applied struct{ Index, Term uint64 }
	// Follows says whom this node takes for its leader; "": nobody.
	Follows struct{ Leader string }
	// Members are the ids of the latest configuration, voters or not.
	Members struct{ IDs []string }
	// Elected says that this node has become leader of Term.
	Elected struct{ Term uint64 }
	// Deposed says that this node does not lead any more. It may come late.
	Deposed struct{}
	// Committed says that a command that this node proposed at Proposed (a time read before it) was applied
	// with Term at Index.
	Committed struct {
		Kind        CommandKind
		Term, Index uint64
		Proposed    Time
		Handed      bool // for a tick: the flag that the last Handover had set, which no other command had cleared
	}
	// Failed says that a command that this node was told to propose did not get into the log, or it is not
	// known whether it did.
	Failed struct{ Kind CommandKind }
	// GiveBack says that this node can't promise any longer what a lease promises (its clock has jumped, its
	// touches are stuck).
	GiveBack struct{}
	// Want says whether this node wants a lease at all. It does at first.
	Want struct{ Lease bool }
	// HandOver says that the leadership is to be handed over in order.
	HandOver struct{}
	// Resume says that the hand-over has failed, and the leader goes on.
	Resume struct{}
	// Pointed says that this leader has let a node answer one read (Point, or after a round to a majority), which
	// that node does at most Duration after it has asked, on its own clock, less what clocks may differ by.
	Pointed struct{ ID string }
	// Tick says that time has passed. It is due at Next.
	Tick struct{}
)

// CommandKind says which commands the protocol tells apart.
type CommandKind uint8

// The kinds. Other is any command that is neither.
const (
	OtherCommand CommandKind = iota
	TickCommand
	HandoverCommand
)

// The messages between nodes. From is set by who receives it, from what the connection has proved.
type (
	// Report goes from a member to its leader.
	Report struct {
		From    string
		Boot    Boot
		Applied uint64
		Stable  uint64
		Sent    Time // on the member's clock, echoed
		Want    bool
		// Duration is D as the member knows it; 0: as everybody does. Nodes that don't agree can't have leases: see mixed.
		Duration time.Duration
	}
	// Grant answers a Report. Remaining 0: no lease.
	Grant struct {
		From      string
		Term      uint64
		Boot      Boot
		Remaining time.Duration
		Echo      Time
		Min       uint64
		Stable    uint64
	}
	// Over goes to leaders: that boot is over, and with it its lease.
	Over struct {
		From string
		Boot Boot
	}
	// Recall asks a member to give its lease back.
	Recall struct {
		From string
		Boot Boot
	}
	// Stable tells members how far the log is stable.
	Stable struct {
		From  string
		Index uint64
	}
)

func (Stored) event()    {}
func (Restoring) event() {}
func (Restored) event()  {}
func (Applied) event()   {}
func (Follows) event()   {}
func (Members) event()   {}
func (Elected) event()   {}
func (Deposed) event()   {}
func (Committed) event() {}
func (Failed) event()    {}
func (GiveBack) event()  {}
func (Want) event()      {}
func (HandOver) event()  {}
func (Resume) event()    {}
func (Pointed) event()   {}
func (Tick) event()      {}
func (Report) event()    {}
func (Grant) event()     {}
func (Over) event()      {}
func (Recall) event()    {}
func (Stable) event()    {}

// Action is what a step tells the node to do: Send or Propose.
type Action interface{ action() }

// Send brings a message (a Report, Grant, Over, Recall or Stable) to a node. It may get lost, come twice or out of order.
type Send struct {
	To      string
	Message Event
}

// Propose brings a Tick or a Handover into the log, if this node leads the Term; Committed or Failed follows. Failed must
// not be stepped while the command may still get into the log behind one that is proposed later.
type Propose struct {
	Term uint64
	Kind CommandKind
}

func (Send) action()    {}
func (Propose) action() {}
