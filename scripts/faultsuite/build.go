//go:build linux

package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"

	"cloakroom/cluster/clustertest/mutant"
)

// tuning is what the suite changes about the program besides what the tag faults does: a snapshot is due after minutes of a
// busy cluster, and the suite can't wait for that.
func tuning() []mutant.Mutant {
	const file = "cluster/consensus/limits.go"
	return []mutant.Mutant{
		{Name: "snapshots come soon", File: file, Old: "DefaultSnapshotBytes = 256 << 20", New: "DefaultSnapshotBytes = 1 << 20"},
		{Name: "and leave little log", File: file, Old: "DefaultTrailingBytes = 64 << 20", New: "DefaultTrailingBytes = 256 << 10"},
	}
}

// build builds the program with changes into a folder, and returns its path.
func build(ctx context.Context, dir string, changes []mutant.Mutant) (string, error) {
	root, err := mutant.Root()
	if err != nil {
		return "", fmt.Errorf("build: %w", err)
	}
	overlay, err := mutant.Overlay(root, dir, changes...)
	if err != nil {
		return "", fmt.Errorf("build: %w", err)
	}
	binary := filepath.Join(dir, "cloakroom")
	ctx, cancel := context.WithTimeout(ctx, buildWithin)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "build", "-tags", "faults", "-overlay", overlay, "-o", binary, "./node")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return binary, nil
}
