//go:build linux

// Command faultsuite runs a cluster of real processes, does to it what happens to clusters, and has everything that its
// clients saw judged: it owns the faults, the clients and the verdict on a run. It does not own the judgement of histories
// (cluster/history), and knows the nodes as their operators and clients do: by their flags, files and HTTP. It needs the
// rights of root on Linux, ip, nft and Go; the nodes, their networks and their disks live in namespaces that are gone with
// its process.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"cloakroom/cluster/clustertest/mutant"
)

func main() {
	if err := start(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		os.Exit(1)
	}
}

// errFailed is for runs whose report says why.
var errFailed = errors.New("the run failed")

func start(args []string) error {
	if len(args) == 2 && args[0] == insideCommand {
		return inside(args[1])
	}
	if len(args) == 1 && args[0] == probeCommand {
		return probe()
	}
	o, err := parseOptions(args, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return nil
	case err != nil:
		return err
	case o.List:
		list()
		return nil
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	err = checkMachine(ctx)
	if errors.Is(err, errMissing) && os.Getenv("CI") != "true" {
		fmt.Println("SKIPPED:", err)
		return nil
	}
	if err != nil {
		return err
	}
	return outside(ctx, o)
}

func list() {
	fmt.Println("Faults:")
	for _, f := range faults() {
		fmt.Printf("  %-20s %s\n", f.name, f.what)
	}
	fmt.Println("Bugs:")
	for _, m := range mutants() {
		fmt.Printf("  %-20s %s\n", m.name, m.what)
	}
}

// folderPrefix is followed by the number of the process that uses a folder.
const folderPrefix = "cloakroom-faults-"

// outside builds the program, runs the suite inside, and says what came out.
func outside(ctx context.Context, o options) error {
	sweep()
	dir, err := os.MkdirTemp("", folderPrefix+strconv.Itoa(os.Getpid())+"-")
	if err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	keep := o.Keep
	defer func() {
		if keep {
			fmt.Println("Kept:", dir)
			return
		}
		if err := os.RemoveAll(dir); err != nil {
			fmt.Fprintln(os.Stderr, "faults: remove folder:", err)
		}
	}()
	if o.Mutants || o.Mutant != "" {
		err = hunt(ctx, dir, o)
	} else {
		err = survive(ctx, dir, o)
	}
	keep = keep || errors.Is(err, errFailed)
	return err
}

// survive is a run of the program as it is.
func survive(ctx context.Context, dir string, o options) error {
	binary := o.Binary
	if binary == "" {
		var err error
		if binary, err = build(ctx, dir, tuning()); err != nil {
			return err
		}
	}
	fmt.Printf("Seed %d\n", o.Seed)
	r, err := runInside(ctx, spec{Dir: dir, Binary: binary, Options: o})
	if err != nil {
		return err
	}
	fmt.Print(r.text())
	if o.JSON != "" {
		if err := r.write(o.JSON); err != nil {
			return err
		}
	}
	if len(r.Problems) > 0 {
		return errFailed
	}
	return nil
}

// hunt runs the program with one bug after another. Each must be caught.
func hunt(ctx context.Context, dir string, o options) error {
	var lines []string
	missed := false
	for _, m := range mutants() {
		if o.Mutant != "" && m.name != o.Mutant {
			continue
		}
		line, caught, err := huntOne(ctx, filepath.Join(dir, m.name), o, m)
		if err != nil {
			return err
		}
		missed = missed || !caught
		lines = append(lines, line)
		fmt.Println(line)
	}
	fmt.Printf("\n%s\n", strings.Join(lines, "\n"))
	if missed {
		return errFailed
	}
	return nil
}

func huntOne(ctx context.Context, dir string, o options, m bug) (line string, caught bool, err error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", false, fmt.Errorf("make folder: %w", err)
	}
	binary, err := build(ctx, dir, append(tuning(), m.changes...))
	if errors.Is(err, mutant.ErrStale) {
		return fmt.Sprintf("%-20s STALE: %v", m.name, err), false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("bug %s: %w", m.name, err)
	}
	o = m.fit(o)
	fmt.Printf("\nBug %s: %s\n", m.name, m.what)
	r, err := runInside(ctx, spec{Dir: dir, Binary: binary, Options: o, Mutant: m.name})
	if err != nil {
		return "", false, err
	}
	if o.JSON != "" {
		if err := r.write(o.JSON); err != nil {
			return "", false, err
		}
	}
	if r.Caught == 0 {
		return fmt.Sprintf("%-20s NOT CAUGHT in %.0f s", m.name, r.Seconds), false, nil
	}
	return fmt.Sprintf("%-20s caught after %.0f s: %s", m.name, r.Caught, strings.Join(r.Verdicts.What, "; ")), true, nil
}

// sweep removes the folders of runs that were killed.
func sweep() {
	folders, err := filepath.Glob(filepath.Join(os.TempDir(), folderPrefix+"*"))
	if err != nil {
		return // the pattern is ours
	}
	for _, folder := range folders {
		text, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(folder), folderPrefix), "-")
		pid, err := strconv.Atoi(text)
		info, statErr := os.Stat(filepath.Join(folder, "spec.json"))
		if err != nil || statErr == nil && time.Since(info.ModTime()) < sweepAfter {
			continue // evidence may be wanted
		}
		if !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			continue
		}
		if err := os.RemoveAll(folder); err != nil {
			fmt.Fprintln(os.Stderr, "faults: remove the folder of a former run:", err)
		}
	}
}
