// Package guard owns what a node knows of its own room, the free bytes on the data directory's file system and the
// memory that is left, and the policy that says which commands need room. It does not own the refusal of a command
// (cluster/propose), nor what the other nodes know of theirs (cluster/roster).
//
// Disk. A log that can't be written stops its node. So what stores something new is refused while a reserve is still
// free, and what ends or shortens goes on, as do lookups, which write nothing. The reserve is what the log of these
// needs until an operator comes, and room for the snapshot that shortens it. A file system that is filled by another
// program faster than CheckInterval still fills.
//
// Memory. What counts is what the collector found alive, with stacks and what else it can't free: garbage must not
// refuse anybody. That number is as old as the last collection. The runtime collects when the heap has grown by GOGC
// percent over it, and at the latest after two minutes. So the state comes late, by at most that growth, which the
// default leaves room for: what is left for the slabs of the sessions, which the collector does not know of, is the budget
// less the heap at its fullest. And it also goes late: on a node at rest sessions that have ended may go on refusing
// new ones for two minutes. Nothing is collected for the guard's sake: at a heap of gigabytes that costs the lookups
// more than a late answer does.
//
// Both have hysteresis, so that a level which swings around its limit does not make the cluster flicker.
package guard
