package session

// refoundGap is how many command numbers are left out when a state begins another cluster. The former cluster may have gone
// on beyond this state, and handed out revisions that are lost with it: a client that still has one must not find it on
// something else. Nothing hands out four thousand million numbers that nobody has a copy of.
const refoundGap = 1 << 32

// Refound makes the state one that a new cluster of that id begins with: without members, and with command numbers that
// the former one has not reached. Users, roles, realms, limits, sessions, tombstones and the clock stay. It is for a machine
// that no log is applied to, such as one that was just restored; the cluster's other nodes get it as a snapshot.
//
// A state without a cluster, and one of that very id, are refused with ErrBadCommand.
func (m *Machine) Refound(clusterID string) error {
	if m.clusterID == "" || m.clusterID == clusterID || !validID(clusterID) || m.seq > maxNumber-refoundGap {
		return ErrBadCommand
	}
	m.clusterID = clusterID
	clear(m.members)
	m.seq += refoundGap
	m.lostAt, m.handed = m.clock, false
	return nil
}
