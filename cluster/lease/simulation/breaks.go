package simulation

// Breaks makes what surrounds the lease machine wrong on purpose. The zero value breaks nothing. What is wrong inside
// of package lease is a mutant of its source instead.
type Breaks struct {
	AnswerAtCommit    bool // a result is told when it is applied at the leader
	AnswerByIndex     bool // a result is told when its index is applied and stable, whosever entry that is
	RefuseEarly       bool // a result that changes nothing is told when it is applied
	ShowEarly         bool // a lookup with a lease doesn't wait until its record is stable
	QuorumShowsEarly  bool // one by a round to the voters doesn't
	ClockAfter        bool // a lookup reads its records before the clock
	NoBootCheck       bool // a lookup doesn't look whether the boot has changed while it read
	NoTombstones      bool // an ended key doesn't know when it was ended
	FloorIgnored      bool // a restored record counts as old, though its snapshot doesn't say when it was changed
	RestoreUntold     bool // the machine isn't told of a restore
	AppliedEarly      bool // the machine is told of what is committed, not of what is visible
	BootReused        bool // a process has the same boots as its former one
	SentLate          bool // a report bears a time after its sending
	ClockCached       bool // a report is stepped with the time of the step before
	AnchorAtCommit    bool // a command counts from when it was applied, not from when it was proposed
	TicksKeepHandover bool // a tick doesn't clear the table's flag of a hand-over
	JumpUnnoticed     bool // a node doesn't notice that its machine stood still for long
	NoTermCheck       bool // the machine isn't told the terms of what is applied
}
