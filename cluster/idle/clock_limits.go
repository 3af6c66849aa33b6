package idle

import "time"

const (
	// SyncInterval is how often a node asks the leader for cluster time. What the clocks drift apart in it is small
	// against what a touch may take.
	SyncInterval = 5 * time.Second
	// SyncBurst is how many questions in a row a node asks a leader that is new to it. The fastest answer is the best.
	SyncBurst = 8
	// SyncPause lies between the questions of a burst, and between the looks of a node without cluster time for a leader.
	SyncPause = 100 * time.Millisecond
	// SyncTimeout bounds a question. Half of it is the largest error of an estimate.
	SyncTimeout = 500 * time.Millisecond
	// driftShare bounds what two machines' clocks drift apart: one part in so many, 500 ppm. Kernels slew by no more. It
	// weighs old answers against new ones; clocks that are worse only make new answers count sooner.
	driftShare = 2000
	// GuardInterval is how often the wall clock and the monotonic clock are compared. For so long a machine that stood
	// still may show a time that is behind.
	GuardInterval = time.Second
	// MaxJump is how far their advances may differ in it before the estimate is no longer trusted: more than any kernel
	// slews the wall clock (0.5 ms a second) and a small part of what a touch may take. A machine that stood still for
	// less is behind by less, until the leader's next answer.
	MaxJump = 250 * time.Millisecond
	// ColdPatience is how long a leader that knows nothing waits for nodes that do not answer: one of them might know
	// cluster time, and without them there may be no majority of wall clocks that agree. It is spent only when a node is
	// missing at the start of the whole cluster.
	ColdPatience = 3 * time.Second
	// ColdPause lies between its questions.
	ColdPause = 250 * time.Millisecond
	// StragglerTime is how long those who have not answered are waited for when most nodes have.
	StragglerTime = 100 * time.Millisecond
	// WallAgreement is how close wall clocks must be to agree. Machines that are kept right are far closer.
	WallAgreement = time.Second
)
