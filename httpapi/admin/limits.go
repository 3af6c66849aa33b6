package admin

import "time"

// How long a client may keep a node waiting with a backup: backupGrace, and a second more for each backupRate bytes of it.
// The node keeps meanwhile what changes as it was: at a thousand changes a second some 300 kB a second, as long as the
// backup has not come to those sessions.
const (
	backupGrace = 30 * time.Second
	backupRate  = 1 << 20 // bytes a second
)
