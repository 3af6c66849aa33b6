// Package simulation owns a simulator of whole clusters that drives the real lease machines: seeded histories of three
// to five nodes over an abstract Raft, with every fault that the protocol claims to bear, and the judgement whether
// clients could see anything wrong. It does not own the protocol, and nothing in it runs in a node.
//
// A history is told by its seed alone: one goroutine, virtual microseconds, one random source. What surrounds the
// protocol in a node (the log, the table, the runner of the machine, lookups, acknowledgements) is modelled here the way
// cluster/consensus, cluster/propose and cluster/lookup do it, but where they promise less than they do, the model does
// less as well: proposals may outlive an office, notices of a lost one come late or never, a snapshot may turn a table
// back, and messages are lost, doubled, late and out of order.
//
// Each history is judged four times: porcupine looks for an order of the operations on each owner's records that
// explains all answers; no lookup may show an older version than one that had been shown or acknowledged before it
// began; no leader may take it that a node has answered no lookup lately that has; and whoever holds a lease must have
// applied everything that any leader has found stable.
//
// Breaks makes the surroundings wrong on purpose, in one way each; mutants of package lease do the same for the
// protocol. The tests show that each is found. One history is told by
//
//	go test ./cluster/lease/simulation -run TestSimulation -v -story SEED
package simulation
