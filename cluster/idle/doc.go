// Package idle owns when sessions were used and when they are over for idleness: cluster time, the touches that
// replicate last uses, and the proposals that end idle sessions. It does not own the ending itself, which is a log
// entry that the machine judges.
//
// Cluster time. The leader stamps entries with it. It is read from a wall clock only when the whole cluster starts
// cold; from then on every node keeps an estimate of the leader's cluster time, asked for over the stream, and a new
// leader goes on from its estimate with its own monotonic clock. So a node whose wall clock is hours off changes nothing.
//
// Touches. A lookup stores its time in this node's memory and nothing else. Once every granularity G (a fifteenth of
// the idle timeout, at least a second and at most a minute) the node proposes what was looked up since, in a few
// commands. Writes move the last use themselves.
//
// Ending. The replicated last use lags behind the true one by G and the time that a touch takes. The leader proposes
// the end of a session only when its replicated last use plus its idle timeout has been over for Grace(G) = 2G + 2 s:
// one lost touch is forgiven. Until then a node that does not know better accepts the session: the active come first.
// From then on every node refuses it, whether the entry that ends it has come or not.
//
// All nodes are to have the same idle timeout: a node with a longer one touches too rarely for sessions that another
// one made with a shorter one.
package idle
