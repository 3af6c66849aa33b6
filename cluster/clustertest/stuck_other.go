//go:build !unix

package clustertest

import "time"

// processorTime takes it that this process is always at work.
func processorTime() time.Duration { return time.Duration(time.Now().UnixNano()) }
