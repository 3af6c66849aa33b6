package peer

import "syscall"

// childAttr puts the child into a group of its own, so that Ctrl-C reaches this program first, which then stops it in
// order. The signal at the parent's death is a net for when this program is killed; it is sent when the *thread* that
// started the child ends, which Go's threads do only together with the program (or a goroutine locked to one: none here).
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
