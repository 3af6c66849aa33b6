package session

// Stats counts what the machine holds and has done. The counters of creations and ends are part of the replicated
// state: every node shows the same, whatever its uptime.
type Stats struct {
	Sessions       int
	ByRealm        map[string]int // of these; each realm that there is
	Users          int
	Roles          int
	Realms         int
	Tombstones     int
	AttributeBytes int64
	Created        uint64
	Ended          map[Reason]uint64
}
