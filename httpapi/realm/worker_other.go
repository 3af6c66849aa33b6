//go:build !linux

package realm

import "syscall"

// lowerPriority does nothing where it is not known how: the work is in a process of its own all the same.
func lowerPriority() error { return nil }

func ownGroup() *syscall.SysProcAttr { return nil }
