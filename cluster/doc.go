// Package cluster is the façade of a node's part in the cluster: commands, lookups, members, statistics. It does not
// own any of them: it wires the packages below it and adds nothing but the order in which they start and stop.
//
//	propose    brings commands into the log
//	lookup     establishes how fresh a read is
//	idle       cluster time, last uses, expiry
//	roster     bootstrap, join, leave
//	consensus  raft and the machine
//	gossip     who is there
//	wire       the port between nodes
package cluster
