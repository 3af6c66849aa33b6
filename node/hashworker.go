package main

import (
	"fmt"
	"os"

	"cloakroom/httpapi/realm"
)

// hashWorkerCmd is what a node starts of itself to compute password hashes. Nobody types it.
type hashWorkerCmd struct{}

// hashWorkerName is its name.
const hashWorkerName = "hash-worker"

// Run implements the command hash-worker.
func (*hashWorkerCmd) Run(a *app) error { return realm.ServeWorker(a.stdin, a.stdout) }

// hashWorkerCommand returns the command line of this very program as a hash worker.
func hashWorkerCommand() ([]string, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	return []string{path, hashWorkerName}, nil
}
