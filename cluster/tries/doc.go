// Package tries owns how often somebody may try to log in: it counts failed logins for the whole cluster and says who has
// to wait, before a password is hashed or a directory server asked. It does not own whether a password is right
// (httpapi/realm), and it keeps nothing on disk.
//
// One table decides, the leader's. A node that is to check a password first asks the leader to Reserve the try. A granted
// try counts as a failure at once, so that many at the same time get no further than one after the other; a right password
// gives it back (Ticket.Forgive). So an attacker who spreads over all nodes gets no more tries than at one. Without a
// leader nothing is granted: a login could not be stored anyway.
//
// Three counters stand for each try: that of the user from this address, that of the address, and that of the user from
// all addresses (limits.go has the figures). Of IPv6, a /64 is one address; loopback, and what has no address, is one.
// After some free failures each further one costs a delay that doubles up to a longest one, and each failure is forgotten
// after a while. A try that is refused changes nothing: it is not counted and makes no delay longer.
//
// Nobody is locked out for good. Where the user logged in within KnownFor, or has a live session right now, only the
// counter of the user from this address counts: strangers can't touch it. From elsewhere the true owner has to wait for the
// delay of the user's counter (half a minute at most) to be over, and then competes with the attacker for the next try. The
// turn is not for the fastest: it is kept for one address that asked meanwhile, for some seconds; one that has not failed
// at this user before one that has, and among equals by lot, so that asking more often does not help. Against that an
// attacker can do this:
//
//   - From one address, or from n that have failed at this user within the last minutes, nothing: the owner gets the
//     very next turn.
//   - With n fresh addresses for each turn the owner waits for n+1 turns on average. All these cost the attacker are n
//     addresses each half a minute, and they buy no more tries than one.
//   - Who shares the owner's address (behind one NAT, or a proxy that is not trusted) shares the counter too, and can keep
//     the user out from there for as long as it goes on guessing. Other addresses of the user are not touched by that.
//
// A change of the leader. The counters travel by gossip, as the hash of a name under a key that only the cluster has, so
// that no user's name does; the later change wins, by term and sequence. A new leader decides by what it has heard. What
// the old one granted in its last moments, and nobody heard of, may be granted once more. That is, for each counter and
// each change of the leader, no more than Excess says: the free failures and what the first delays let through within
// GossipWindow, in which news reach the others and a leader that has lost its office notices. When packets are lost, or
// there are more news than gossip carries (some hundred counters a second), single counters may be missed for longer: the
// highest go first, and every 15 s each node exchanges a table's highest counters with another. A counter of which the new
// leader knows nothing at all starts anew: the free failures, and the delays up to the longest, which are six for a user and
// ten for a user from one address. A restart of all nodes at the same time forgets everything.
//
// A full table. The table has a fixed size, about 15 MiB when all of it is in use, on every node. What is forgotten to
// make room is the lowest counter of some that are looked at, each kind in its own table: a flood of made up names, which
// have one failure each, does not push out a user's with ten. To forget a failure is better than to refuse logins.
package tries
