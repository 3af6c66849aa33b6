package guard

import "cloakroom/cluster/session"

// Why a command is not admitted.
var (
	ErrDiskLow     = &session.Error{Code: "disk-low", Message: "the disks of the cluster are nearly full, so nothing new is stored: free space where the data directories are; sessions can be used and ended meanwhile"}
	ErrLimitMemory = &session.Error{Code: "limit-memory", Message: "the sessions fill the memory that they may take: try again when some have ended, or raise the memory limit"}
)
