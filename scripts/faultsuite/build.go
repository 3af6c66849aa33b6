//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

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
	overlay, err := overlayOf(root, dir, changes)
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

// overlayOf writes one overlay with all changes. Several may be about one file: each is made in what the one before it has
// left.
func overlayOf(root, dir string, changes []mutant.Mutant) (string, error) {
	replaced := map[string]string{}
	shadow := filepath.Join(dir, "shadow") // of the files that were changed before
	for i, m := range changes {
		from := root
		source := filepath.Join(root, filepath.FromSlash(m.File))
		if before, ok := replaced[source]; ok {
			copied := filepath.Join(shadow, filepath.FromSlash(m.File))
			if err := os.MkdirAll(filepath.Dir(copied), 0o700); err != nil {
				return "", err
			}
			text, err := os.ReadFile(before)
			if err != nil {
				return "", err
			}
			if err := os.WriteFile(copied, text, 0o600); err != nil {
				return "", err
			}
			from = shadow
		}
		one := filepath.Join(dir, "change-"+strconv.Itoa(i))
		if err := os.MkdirAll(one, 0o700); err != nil {
			return "", err
		}
		path, err := mutant.Overlay(from, one, m)
		if err != nil {
			return "", err
		}
		files, err := readOverlay(path)
		if err != nil {
			return "", err
		}
		for _, changed := range files {
			replaced[source] = changed
		}
	}
	text, err := json.Marshal(map[string]map[string]string{"Replace": maps.Clone(replaced)})
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "overlay.json")
	return path, os.WriteFile(path, text, 0o600)
}

func readOverlay(path string) (map[string]string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read overlay: %w", err)
	}
	var overlay struct{ Replace map[string]string }
	if err := json.Unmarshal(text, &overlay); err != nil {
		return nil, fmt.Errorf("read overlay: %w", err)
	}
	return overlay.Replace, nil
}
