// Package idle owns when sessions were used and when they are over for idleness: cluster time, what each node remembers
// of uses, how that is replicated, and the question that decides. It does not own the ending itself, which is a log entry
// that the machine judges, nor how fresh a lookup's machine is.
//
// Two promises. Nobody active is logged out: a session that is used within its idle timeout T on any node that can be
// reached is not ended. Nobody idle stays in: one that was not used for T is refused by every node from that millisecond
// of cluster time on, as long as all nodes that may have served it can be asked; if one can't, at the latest after
// T + G + δ, counted from the replicated last use. A lookup costs no entry and no hop for it but in the cases below.
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
// # The question
//
// A node accepts a session if rep or its own last use is less than T ago. It need not ask: (1) and (2) don't matter, as
// knowing more could only prolong. If both are over, it asks the leader (KindGrey), and the leader asks all nodes
// (KindAsk), itself and its board too: when was this last used? So it does for sessions that come due by the machine's
// wheel, whether anybody looks them up or not. No session is ever ended for idleness without a question. From the answers
// at the leader's time now follows, for each session:
//
//	alive      somebody knows of a use less than T ago: it goes into the log (Touch).
//	ended      all nodes have answered, and none has forgotten anything since rep: nobody has served it in time. It is
//	           ended by an entry (Expire, cutoff now). Also if not all have answered but rep + T + G + δ <= now: what
//	           was on its way by (1) has arrived, and the rest makes it over.
//	undecided  not all have answered, or some have forgotten, and it is not as late: a lookup is accepted, for the active
//	           come first. If it counts as a use, that goes into the log before: the node that accepts it may die too.
//	unsettled  it is late enough, but the leader is new (OfficeGrace): a node that had no leader for long may not have
//	           found this one, with uses that are long due. Neither ended nor accepted: the lookup is told to come again.
//
// What comes out of a question is in the log before it is answered, and the asker waits until it has applied that and
// judges anew. So the log orders all verdicts about a session; a touch that comes before an end makes it void, as the
// machine compares rep with the cutoff, and a touch that comes after is passed over.
//
// Complete means: everybody in the configuration or in the roster has answered; no node was lost since rep (LostAt, with
// δ for the difference of clocks; read after the list of nodes, so that one which goes in between is in either); nobody's
// since is later than rep. A node counts as lost when it has gone from both lists, so it must go from the roster last.
// A node that has never served reaches back to ever (Config.Since): to add one makes nothing undecided. One that has
// stopped in order, with all its uses replicated, goes on from where it was; one that has not can say nothing about its
// former life.
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
// # What is not promised
//
//   - A node that dies takes with it the uses that have not reached the leader. By (1) those are less than G after rep,
//     which expiry forgives (the session lives on until T + G + δ after rep, at least), and those of the last
//     milliseconds, which it does not: whoever came back after a long pause, on a node that died in that moment, is
//     logged out T + G + δ after rep. When more uses are due than the log may take, the moment is longer:
//     Stats.OldestUnsent. While the node lives, late is not lost, for it is asked.
//   - Level local asks nobody. It accepts until T + G + δ after rep, or T after its own last use; it counts uses.
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
