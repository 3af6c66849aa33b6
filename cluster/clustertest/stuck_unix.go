//go:build unix

package clustertest

import (
	"syscall"
	"time"
)

// processorTime returns for how long this process has been at work.
func processorTime() time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		panic("BUG: clustertest: the time of the own process: " + err.Error())
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
