//go:build !linux

// Command faultsuite runs a cluster of real processes under faults, which takes the namespaces of Linux.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Println("SKIPPED: the fault suite needs Linux")
	if os.Getenv("CI") == "true" {
		os.Exit(1)
	}
}
