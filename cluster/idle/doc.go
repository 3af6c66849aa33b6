// Package idle owns when sessions were used and when they are over for idleness: cluster time, what each node remembers
// of uses, how that is replicated, and the question that decides. It does not own the ending itself, which is a log entry
// that the machine judges, nor how fresh a lookup's machine is.
//
// Two promises. Nobody active is logged out: a session that is used within its idle timeout T on any node that can be
// reached is not ended. Nobody idle stays in: one that was not used for T is refused by every node from that millisecond
// of cluster time on, as long as all nodes can be asked that may have served it since its replicated last use; if one can't,
// at the latest after T + G + δ, counted from that. A lookup costs no entry and no hop for it but in the cases below.
//
// Cluster time is Clock's, and argued there.
//
// # What is known where
//
// rep is a session's last use in the machine, G its granularity (session.Granularity, some minutes at most), δ is
// session.TouchSlack. A node notes each use in its own table and nowhere else. A use that is later than rep by G or more
// is due: its node brings it to the leader within milliseconds, and again until it is in the log and applied here. The
// leader's board merges what all nodes bring and feeds it to the log at a bounded rate. Uses that are not due are not
// sent, but by the last Flush of a node that stops in order. So
//
//	(1) a use that nobody but its node knows of is later than rep by less than G, or it is on its way.
//	(2) a node's table holds all its uses that are later than rep, back to since: its start, or the latest use that did
//	    not fit in. What is due has twice the room, for a session that is used on one node only has no other witness.
//
// An entry goes from the table when rep has caught up with it, when its session is gone, or when it keeps nothing alive.
//
// On its way means: a node that can't bring a use to the leader within δ gives its read lease back and does without until
// it can (see below). So
//
//	(3) a use that is due, and older than δ, is known to the leader too, or its node has stopped answering from its lease;
//	    or the leader has more to do than the log may take, and said so. This is about nodes that die: what a node knows
//	    that lives and is asked is not lost, however late it is.
//
// # The question
//
// A node accepts a session if rep or its own last use is less than T ago. It need not ask: (1) and (2) don't matter, as
// knowing more could only prolong. Uses seen at level local don't count for that, see (6). If both are over, it asks the
// leader (KindGrey), and the leader asks all nodes (KindAsk), itself and its board too: when was this last used? So it
// does for sessions that come due by the machine's wheel, whether anybody looks them up or not. No session is ever ended
// for idleness without a question. From the answers at the leader's time now follows, for each session:
//
//	alive      somebody knows of a use less than T ago: it goes into the log (Touch).
//	ended      the answers are complete: nobody has served it in time. It is ended by an entry (Expire, cutoff now).
//	           Also if they are not but rep + T + G + δ <= now: what was on its way by (1) has arrived, and the rest makes
//	           it over.
//	undecided  they are not complete, and it is not as late: a lookup is accepted, for the active come first. If it
//	           counts as a use, that goes into the log before: the node that accepts it may die too.
//	unsettled  it is late enough, but the leader is new (OfficeGrace): a node that had no leader for long may not have
//	           found this one, with uses that are long due. Neither ended nor accepted: the lookup is told to come again.
//
// What comes out of a question is in the log before it is answered, and the asker waits until it has applied that and
// judges anew. So the log orders all verdicts about a session; a touch that comes before an end makes it void, as the
// machine compares rep with the cutoff, and a touch that comes after is passed over.
//
// The machine itself refuses to change or to end a session that is long over by rep. That is no verdict yet: the session is
// looked up, and if it lives, the command is proposed again.
//
// Complete means, for a session: everybody in the configuration or in the roster has answered, with a since that is not
// later than rep, or can't have served it since rep; and no node was lost since rep (LostAt, with δ for the difference of
// clocks, and the duration of a lease, for a node that is taken out may serve as long; read after the list of nodes, so
// that one which goes in between is in either). A node counts as lost when it has gone from both lists, so it must go from
// the roster last. A node that has never served reaches back to ever (Config.Since): to add one makes nothing undecided.
// One that has stopped in order, with all its uses replicated, goes on from where it was; one that has not can say nothing
// about its former life.
//
// # Who can't have served
//
// Above level local a node answers only as long as the leader allows it, by a lease or by the point of one read. So a dead
// node in the roster, or one that is cut off, need not make all ends late: the leader knows until when it may have served
// (Leases.Served). All are asked all the same. A node that does not answer, or whose since is later than rep, is left out
// of a verdict if all of these hold:
//
//	(4) what it was allowed before Served was read ended at a time of the leader's, now - ago, that is before rep by δ or
//	    more;
//	(5) what it was allowed after it can't make it accept the session;
//	(6) it has no use of the session from when it was not allowed anything.
//
// (4) compares the leader's time with uses that are timed by the node's. A use is timed by its arrival (Arrive), before the
// lookup has found its lease valid or has asked for its point: however long the lookup is held up afterwards, the use is
// not later, by the node's clock, than the end of what the node was allowed. (To time it when it is noted would let a node
// that was paused note a use of a moment at which it was taken for dead.) The node's time is ahead of the leader's by less
// than δ: by half the slowest answer (SyncTimeout) of its own estimate, by as much of the leader's when it took office and
// went on from that, by a halt of the leader's that the guard does not see (MaxJump), and by what clocks drift apart
// between two answers: less than a second in all. Further back than its own office no leader looks: Served covers whatever
// former leaders may have allowed until it was unfrozen. While it leads, its time runs no slower than the clock that ago
// is measured by; now is read after ago, so that a pause in between makes the sum later, not earlier.
//
// For (5) the order counts. Served is read when the questions have been answered or given up: whom the leader has allowed
// to serve while it asked is not left out. (If it were read first, a node might be given a lease after that, not hear the
// question, and serve.) And it is read behind a fence: an entry of this leader's that is stamped not before the time of
// the question, and was told as done, which means that it is stable. A lease or a point that is given later asks for that
// index (Min, and S for points), so its node has applied that stamp, and shows no earlier time. To that node the session is
// over, as it is to those that have answered: it asks. Without the fence it might be behind, accept the session for the
// last time, and find it ended. The fence costs a tick when somebody does not answer; a command that came after the
// question does as well, so in a mass of ends there are few.
//
// (6) is why uses at level local, where nobody was asked for leave, are marked in the table. They are told to whoever asks,
// are replicated, and count in full for level local. But a node with a lease that was left out a moment ago must not
// accept a session because of one: it asks, and then the log decides.
//
// A node that has forgotten a former life answers, and most likely serves again: then Served is now, and it is not left out.
// That is right, for the leader can't tell its lives apart: it may have served the session in the former one. It makes ends
// late again of sessions with rep before its start, though for those with rep after its death that would not be necessary.
// This node's own former life is treated like that too. Nobody is left out without leases (Config.Leases nil), or when the
// leader does not know.
//
// # Why a question can be trusted
//
// Between an answer and the end that follows, the node that gave it must not accept the session. So it first raises its
// horizon to the asker's now, then reads its table. A lookup notes its use under the lock of the same part of the table,
// and only if the horizon is before the end of what it has judged by; else it has come too late, and asks. Whichever comes
// first, a use is either in the answer or knows of the question. (To note first, compare after, and take the note back
// would not do: another lookup might judge by the note in between.) Clock.Floor does the same for all that the node shows
// as time, and stamps if it becomes leader.
//
// A leader that has been replaced without knowing might ask too few nodes: a new one may have joined. So a node answers
// only whom it knows as leader: of a majority, some node has voted for the next one, and knows no leader until that comes.
// And a leader proposes what it has judged only as long as it leads. A leader whose time is ahead by MaxAhead or more gets
// no answer: one bad clock must not end all sessions.
//
// # When uses don't get through
//
// A node counts from the moment at which it has first tried to bring a use to the leader. If it has heard nothing of that
// for AckPatience, it gives its lease back and wants none (Leases.Want), and wants one again when it has been heard. Until
// then it may still be given points. So a lookup whose use would be due is taken to the leader, as a question: the use is
// in the log before it is answered. A use that is not due may be kept as ever, (1).
//
// It is heard when the leader says that the use is in the log; but also when it says that it is on its board (ErrOnBoard,
// after BoardHold) or that the board is full (ErrBoardFull), for what (3) is about is to be the only one who knows. What is
// on the board is in every answer of the leader's, and survives the node; if the leader dies with it, the node still has
// it, counts from the last answer on, and gives its lease back if the next leader does not come by then. Of a full board
// the use is not known to the leader, but it knows who to ask, and expiry does ask: no use is lost as long as its node
// lives. Both happen when more sessions are active than touches are replicated, and then nodes without leases would only
// add to the load. So a crowd makes touches late (Stats.OldestUnsent), rare by the pace, and takes no lease from anybody.
// Waiting uses that have not been tried, because the flights are full, count like those in flight: they are no older.
// That a request could not be sent, or that a node says it does not lead, is no answer: the board of a leader without
// office loses what is on it. What counts is when an answered request was sent, not when the answer came.
//
// # What lookups rest on
//
// A lookup tells which index must be stable before its answer may be told (mod). For a session that is live, or has ended,
// it is that of the last change of what is shown, read together with it. A question adds nothing to that. The end that it
// causes is such a change. A Touch that it causes is none, and need not be stable: the session is not accepted against what
// somebody else may show, for to refuse it for idleness takes an end in the log, after that touch, which the touch makes
// void. What follows from the time alone, a lifetime that is over, or idleness at level local, has no index: it needs no
// entry to hold everywhere.
//
// # What is not promised
//
//   - A node that dies takes with it the uses that have not reached the leader. By (1) those are less than G after rep,
//     which expiry forgives (the session lives on until T + G + δ after rep, at least), and those of the last
//     milliseconds, which it does not: whoever came back after a long pause, on a node that died in that moment, is
//     logged out T + G + δ after rep. If the leader can't be reached but by points, or not at all, the moment is δ, by (3).
//     If the board is full, or the leader dies with what is on it, together with the node, it is longer:
//     Stats.OldestUnsent. While the node lives, late is not lost, for it is asked.
//   - Two clocks of this package's that differ by δ, or a machine whose clocks stand still together for as long, break (4).
//   - Level local asks nobody. It accepts until T + G + δ after rep, or T after its own last use; it counts uses. Those of
//     a node that is cut off reach the others late, and those that are not due, or come too late, not at all.
//   - Without a leader, and with uses that cannot be asked about, a lookup fails; nobody is refused for idleness.
//   - All nodes must have the same idle timeout. Where it was made shorter, sessions of the longer one are still held to
//     theirs, but the pace is lowered too early for them.
//   - Lifetimes are judged by every lookup. An idle cluster has no entries, so the record of a session that is over by its
//     lifetime alone may stay until there is one.
//
// # Rates
//
// The leader replicates at most MaxTouchRate uses a second. If more come due for longer than a moment, it makes the pace
// coarser: G grows, up to T/4 (session.Pace). What expiry forgives, the grace, must never be less than what touches leave
// out; so the grace is raised by an entry before, and lowered last: T after the touches, for until then there may be a
// session whose last use was left out by the coarser pace and is never sent. Who judges by the new grace too early, or by
// the old touch pace too late, can't be: both are in the log, and a leader judges by all of it.
//
// Ends go in batches of ExpireBatch, MaxExpireRate sessions a second, so that applying them holds up no lookup for long;
// lookups don't wait for them, they ask. An election costs nothing in proportion to the number of sessions: the wheel is
// kept by every machine, and tables and boards fill by themselves.
package idle
