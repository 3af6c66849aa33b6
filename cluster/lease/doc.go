// Package lease owns the protocol by which any node answers a lookup from its own memory, linearizably: who holds a read
// lease until when, and up to which index the log is stable. It owns neither the clock, the network nor the table: events
// and times go in, actions come out.
//
// The idea: a write is acknowledged only when every node that may answer from its own table has applied it; and a node
// may answer only while it holds a lease, so that a node that is lost delays writes by no more than the lease's duration.
//
// # Roles
//
// Every node has one Machine. As a member it holds a lease, or none, and reports to its leader what it has applied. While
// its node leads, the machine also keeps an office: whom it has granted what, and S. A lookup needs neither: it reads two
// values that the machine's caller publishes after each step, the Lease and the stable index.
//
//	applied   index of the log up to which effects are visible in a node's table
//	S         the stable index: everything up to it is committed, and applied wherever a lease holds
//	boot      one unbroken life of a table. Leases and records belong to boots, not to nodes
//	anchor    a time, read before a command was proposed that was then committed in the leader's own term
//	b         index of the term's first tick: whatever former leaders have committed is below it
//	D, ε, M   Config: duration of a lease, difference of clock rates, longest standstill of a clock
//
// # Messages
//
//	Report  member to leader: boot, applied, what it knows to be stable, its clock as read before sending
//	Grant   the answer: term, boot, how much of the lease remains on the leader's clock, the member's time as it came,
//	        the index from which the lease counts, S. Remaining 0 is no lease; the member still learns S
//	Stable  leader to lease holders: S has moved, by more than a tick
//	Recall  leader to member: give that boot's lease back
//	Over    member to leaders: that boot is over
//
// Any of them may be lost, doubled, late or out of order. Two commands go through the log: a Tick, which only gives an
// anchor, and a Handover, which says that no lease is out. The latter sets a flag in the replicated machine, which any
// other command clears.
//
// # The protocol
//
// Lease. The leader reads its clock when the report has come in. If now < anchor + D(1−ε) − M, and the member is in the
// configuration, wants a lease, is at most MaxLag entries behind and keeps up (it has come, within D/4, as far as the leader
// was before), it notes anchor + D for the boot, and then answers. One that lags is asked for the lease that it has.
// The member's lease ends, on the member's clock, at sent + remaining(1−ε) − M. It counts only when the table has reached
// Min = max(S, b). What one leader grants to one boot adds up: the latest end, the highest Min. A grant of a newer term
// replaces both; one of an older term or for another boot is ignored. The leader's own lease runs to anchor + D − M and
// counts from b.
//
// S is the least of the leader's applied and the applied of each boot whose lease has not run out on the leader's clock.
// It moves only when the first tick is applied and the office is not frozen, and never goes back. Records are dropped
// only when the lease has run out or the boot is over, whatever has become of the member.
//
// Frozen. A new leader waits until lastOld + D(1+ε) + M has passed, lastOld being when it last stored an entry of an
// older term, or took over a snapshot, or was started. Until then nothing but ticks is to be proposed and nothing
// acknowledged. It may grant leases.
//
// Hand-over. An unfrozen leader drops its own lease, grants none, proposes nothing, recalls all, and when no lease is out
// proposes the Handover. If the first tick of the next leader finds the flag set, that leader is not frozen. If nobody
// takes over, leases are counted only from commands behind the Handover.
//
// Acknowledging. A result at index w, a refusal too, may be told when its entry, with its term, is applied at the leader
// and S >= w.
//
// Lookup. Load the Lease, then read the clock, both after the request has come in; Holds; read the record with its mod,
// the index of its last change; see that the boot is the same still; Covers, that is mod <= S as known here. If it does
// not cover, wait for S or ask the leader, but never show an older value. Absence of a record has a mod as well. Without
// a lease, ask the leader for a Point, or wait for a round to a majority of the voters; wait until that is applied, and
// then let S cover.
//
// # Invariants
//
//	(1) Who holds a lease, at applied >= Min, has applied everything up to any S that any leader has found.
//	(2) What was acknowledged or shown is at or below the S that some leader had found by then.
//	(3) A command that was committed in term T and proposed at v: no leader of a later term was elected before v.
//	(4) A leader has a record of every lease of its term that may still hold, but for its own, and the record ends
//	    later in real time. It has applied S.
//	(5) When a leader that was frozen, or was not frozen at first, moves S for the first time, no lease holds that a
//	    leader of an earlier term has granted. The same with the flag of a Handover.
//	(6) A boot's table never goes back, and a boot that is over never holds a lease again.
//
// (3) is Raft's: the entry is stored by a majority of the voters after v, and a later leader is elected by one that
// shares a voter with it. That voter has stored the entry first, or it would have refused it; so the vote came after v,
// and the new leader has the entry. Configurations change one voter at a time, so this holds across changes.
//
// (4) The member counts from before its report was sent, the leader from after that came in, and ε and M are taken from
// what the member gets. The record stands before the answer is sent.
//
// (5) A lease of a former term T' hangs on an entry of T', its anchor, which by (3) is in the new leader's log. The new
// leader stored it after v, or restored a snapshot that holds it after v, or was started after it had done so: in each
// case at or before lastOld. The lease ends no later than D after v, on clocks of which the leader's may stand still
// between v and the grant and the member's after the grant; D(1+ε) + M covers one of them and the member itself takes off
// the other. With the flag set, the last command before the tick is the Handover of an unfrozen leader: by (5) for that
// one, no older leases are out; its own had ended; and it granted none afterwards but from commands behind the Handover,
// of which there is none. Leaders in between had no tick committed and granted nothing. (A former leader's lease is
// counted from v, not from its grant, which may come later than the new leader's election.)
//
// (1) A lease that holds was granted in some term T. For S found in T by its leader: by then the boot was on record and
// had reported as much, or its lease was granted later, with Min at or above that S; as to the leader's own table, S is
// never above what that has applied. For S found in a term before T: it is below b <= Min. For S found in a later term:
// by (5) the lease does not hold any more. By (6) what was reported stays applied.
//
// # Why a lookup is linearizable
//
// Take as the point of a write at index w the moment when S passes w, anywhere, for the first time. Take as the point of
// a lookup its reading of the clock, or, if later, the moment when S passes the version that it shows. Both lie between
// the request and the answer, by (2) and by the order of things in a lookup. Points of writes are in the order of their
// indexes. A lookup does not miss a write before its point: when it reads the clock its node holds a lease, so by (1) its
// table has reached any S found by then, and the record is read afterwards in a table that has not gone back, the boot
// being the same. If its point is the passing of S over the version that it shows, later versions of that record have
// theirs later, since S passes indexes in order; where it passes several at one moment, the lookup stands right behind
// the one that it shows. A lookup shows no write before that write's point, since it waits until S covers it. The same
// holds for answers made from several records with the highest mod of them, if they are read in one piece.
//
// Facts about S stay true across terms: whoever has heard of them may pass them on and use them, on a node without a
// lease too. So does a new leader, whose S starts with the highest that it hears of.
//
// A Point is max(S, b) at a moment at which the leader holds its own lease: by (1), (2) and (5) nothing that is shown or
// acknowledged by then is above it. (What a leader of a later term acknowledges by then would be, but by (5) there is
// none while the lease holds.)
//
// # What it rests on
//
// Clock rates: within any stretch of time no clock advances by more than 1+ε times as much as another one. Standstill:
// no machine stands still together with its clock for longer than M, in all during one lease, while others go on. A
// process that is paused is no danger, its clock runs on; a suspended virtual machine is, so the caller compares the
// advance of wall and monotonic clocks and steps GiveBack when they differ, which also voids the anchors of before.
// Nothing is asked of clocks besides. Raft: (3); entries that are committed are never lost; what a voter has promised
// and stored survives its restart. Wall clocks, delays of messages and of processes, and who believes to lead, matter
// for progress only.
//
// # Why the constants are what they are
//
//	D/5           between ticks at rest: members report when they have applied one, so a lease has some 4/5 left at its
//	              lowest, and an election can pass without lookups losing theirs. It costs each member five small
//	              messages a lease
//	D/4           between reports when nothing is applied: longer than between ticks, or each tick would find a report
//	              just sent and cause another. If report and tick have just missed each other a lease has 11/20 left
//	50 ms         until an unanswered or refused report is repeated: a member that catches up is not kept waiting, and a
//	              leader without an answer is not flooded. D/10 if less
//	D/20          between recalls of a hand-over, and after a proposal that failed
//	D(1−ε) − M    age of an anchor above which nothing is granted: the member would take off what is left
//	D − M         own lease: counted on the clock that read the anchor, so only the standstill is taken off, for the new
//	              leader allows for the rates
//	D(1+ε)+M + 1  freeze: see (5). The nanosecond is for clock readings being rounded down; so is the one that members
//	              take off
//	MaxLag        how far a member may be behind and be granted a lease: what it lags is what each write waits for. Safe
//	              at any value
//	D/4           for a member to come as far as its leader was. By entries alone, one whose reports get through but that
//	              hears nothing would be granted leases until it is MaxLag behind, and all writes wait for it: so they wait
//	              for D + D/4 at most. Safe at any value
//
// # Pitfalls, one by one
//
// A pause between check and answer: the answer was true at the lookup's point, and the request is still open; that it
// comes late is what any slow answer does. A pause between the clock and the record: what is read is newer, and S must
// cover it. Serving goes by points, too: who asks for the last possible use has to allow for late answers himself.
//
// Restore on a lease holder: the table may go back, and index by index it does not say what changed. Restoring begins a
// new boot before the table is touched, so a lookup under way finds another boot and starts over; the old boot is over;
// grants for it are ignored; and Floor makes every record of the new table, absent ones too, count as changed at the
// snapshot's index. On a leader it ends the office: there is another one.
//
// A member removed and added again: records belong to boots and stay until they run out, so a removed member that does
// not know of it delays writes for D at most, and one that comes back finds its record. It is granted nothing meanwhile.
//
// A restarted node: another Process, so another boot. What its former life was granted is waited for, unless that life
// said that it was over. Its history begins with its start, for it does not know when it stored what it has on disk.
//
// A cloned data directory: two processes under one id have two boots and two records. What one says of itself ends
// nothing of the other. (Raft does not bear two voters under one id. This is about reading.)
//
// Non-voters: they report and hold leases as voters do, and no argument above counts them.
//
// The leader removing itself: it leads until that is committed, without a vote; (3) counts the voters without it. Then
// its office ends, and its own lease holds on until anchor + D − M, which the next leader outlasts like any other.
//
// A term change between report and answer: who has lost the office unawares may still grant, as long as its anchor
// allows; the grant hangs on that anchor, and (5) covers it whenever it was given. Who knows answers nothing. The member
// takes grants of whatever leader, unless it holds one of a newer term.
//
// Deletes: an ended session leaves a mark with the index of its end until S has passed that, so "no such session" is
// shown by the same rule as any other version, and an end that is not stable yet is not shown.
//
// Applied reported before the data is visible: Applied says visible. A member that reported what was handed to its table
// would let S pass what its lookups do not find yet.
//
// A cached clock: a lookup's reading must be later than its request, and a step's later than its event; an older one
// makes a lease hold that does not. For a report sent, an older reading would be harmless. The machine takes the latest
// reading that it has seen if a step comes with an older one, as two readers may have raced for the lock: that is a
// reading of this clock too, and not from the future.
//
// Two grants racing: of one leader and boot both stand on the same record, which ends with the later. Of two leaders the
// newer's is taken; the older's record may hold up the older's S, which nobody waits for.
//
// ErrLeadershipLost after append: the proposer steps Failed, or Committed with whatever term the entry at last has. Only
// Committed in the term of the office anchors; one of a later term ends the office. A Handover whose outcome is unknown
// may be in the log, and an office that goes on must assume so: nothing anchors that was proposed before the outcome was
// known to be unknown, and nothing at all while it is open.
//
// # Where this differs from the design
//
// A report of a boot ends earlier boots of the same process, and Over ends them all, because a process has one boot at a
// time: so a lost Over costs 50 ms of writes and not D, and a late report of an ended boot gets no record. A Recall for
// a boot that is over already is answered with Over again.
//
// That S has moved by a tick alone is told with the next answers only: a tick changes no record, so nobody waits to hear
// of it. Who reads several records must not take the index of a tick for that of their last change.
//
// S is updated before a report is answered, not after, so that the answer brings it; the record stands by then, and Min
// follows the updated S.
//
// While the outcome of a Handover is open, nothing anchors, even if the leader was told to go on; and after an unknown
// outcome only what is proposed later does. The design speaks of the Handover's index only, which is not known then.
//
// GiveBack on a leader voids its anchors, as the clock that read them may have stood still.
//
// One end and one Min are kept for each lease, not a list of pairs: their maxima are a lease that was granted, or less.
//
// Serving allows former leaders' Points another D(1+ε)+M after the end of their leases: a Point may be used for D after
// it was given, and was given while that leader's lease held or, after a round, before this one was elected.
//
// A late notice of an election into a term before that of what is applied is ignored.
//
// A Handover names the term of the leader that proposes it, and counts only in an entry of that term: a process that was
// stopped between the decision and the log may bring it into a later term of its own, when other leases are out.
//
// The flag is no part of a snapshot: a node that took one over after the Handover is frozen for once.
//
// Nodes may have been started with different D. A leader that hears of another one in a report gives up its own lease,
// grants none and asks back what is out, until all agree: whoever knows a smaller D would not wait long enough for it.
// What is left open is the moment between an election and the first report.
//
// A member must not only be at most MaxLag entries behind but keep up in time, as said above.
package lease
