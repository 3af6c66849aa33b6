package mmonit

// Limits of the M/Monit surface.
const (
	maxReturnURL = 1024 // bytes of a path to go to after the login
)
