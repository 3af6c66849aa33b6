// Command upgradesuite replaces the nodes of a cluster, one after another, by those of today's program while clients use it: it
// owns the two programs, the order of the steps, the clients and the verdict. It knows the nodes as their operators and
// clients do, by their flags, files and HTTP. The older program is built from the repository's own history.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	err := start(ctx, os.Args[1:], os.Stdout)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "upgrade:", err)
		cancel()
		os.Exit(1)
	}
}

const usage = `usage: scripts/upgrade [--keep] [REVISION]

Builds the program of REVISION from this repository's history, starts three nodes of it, and replaces them one at a time by
today's, under load. Without REVISION: the last one whose program knows an older version of commands than today's.

`

func start(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("upgrade", flag.ContinueOnError)
	keep := flags.Bool("keep", false, "leave the programs, data directories and logs where they are")
	flags.Usage = func() {
		_, _ = fmt.Fprint(flags.Output(), usage) // for people: what they do not see they ask for again
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "cloakroom-upgrade.")
	if err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	if *keep {
		_, _ = fmt.Fprintln(out, "everything is kept in", dir)
	} else {
		defer func() { _ = os.RemoveAll(dir) }() // of no use any more
	}
	p, err := build(ctx, dir, flags.Arg(0))
	if errors.Is(err, errNoHistory) && os.Getenv("CI") != "true" {
		_, _ = fmt.Fprintln(out, "SKIPPED:", err)
		return nil
	}
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(out, "from %s (%s), which knows commands up to version %d, to this tree, which knows version %d\n", p.revision, p.subject, p.oldVersion, p.newVersion)
	c, err := newCluster(ctx, dir, p)
	if err != nil {
		return err
	}
	defer c.kill()
	begun := time.Now()
	if err := roll(ctx, c, out); err != nil {
		return fmt.Errorf("%w\n%s", err, c.lastWords())
	}
	_, _ = fmt.Fprintf(out, "done in %v\n", time.Since(begun).Round(100*time.Millisecond))
	return nil
}
