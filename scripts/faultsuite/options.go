//go:build linux

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"
)

// options is what a run is told by flags.
type options struct {
	For         time.Duration
	Seed        uint64
	Nodes       int
	Faults      []string // empty: all
	Keep        bool
	Consistency string
	Heartbeat   time.Duration
	Idle        time.Duration
	Binary      string
	JSON        string
	Mutant      string
	Mutants     bool
	List        bool
}

// errUsage is for flags that make no sense.
var errUsage = errors.New("wrong use")

func parseOptions(args []string, out io.Writer) (options, error) {
	var o options
	var names string
	set := flag.NewFlagSet("scripts/faults", flag.ContinueOnError)
	set.SetOutput(out)
	set.DurationVar(&o.For, "for", defaultFor, "how long to inject faults")
	set.Uint64Var(&o.Seed, "seed", 0, "of the sequence of faults (default: of the clock)")
	set.IntVar(&o.Nodes, "nodes", 3, "voters; a read replica and a node that joins and leaves come on top")
	set.StringVar(&names, "faults", "", "only these kinds, with commas between them (default: all)")
	set.BoolVar(&o.Keep, "keep", false, "keep the folder with the nodes' logs")
	set.StringVar(&o.Consistency, "consistency", "", "level of reads that the nodes are told (default: their own)")
	set.DurationVar(&o.Heartbeat, "heartbeat", 0, "that the nodes are told (default: their own)")
	set.DurationVar(&o.Idle, "idle-timeout", defaultIdle, "of the sessions")
	set.StringVar(&o.Binary, "binary", "", "the program, built with -tags faults (default: build it)")
	set.StringVar(&o.JSON, "json", "", "write the report to this file, too")
	set.StringVar(&o.Mutant, "mutant", "", "build the program with this bug; it must be caught")
	set.BoolVar(&o.Mutants, "mutants", false, "all of them, one after another")
	set.BoolVar(&o.List, "list", false, "list kinds of faults and bugs")
	if err := set.Parse(args); err != nil {
		return o, err
	}
	for name := range strings.SplitSeq(names, ",") {
		if name = strings.TrimSpace(name); name != "" {
			o.Faults = append(o.Faults, name)
		}
	}
	if o.Seed == 0 {
		o.Seed = uint64(time.Now().UnixNano())
	}
	return o, o.validate(set.NArg())
}

func (o *options) validate(rest int) error {
	for _, name := range o.Faults {
		if _, ok := faultNamed(name); !ok {
			return fmt.Errorf("%w: --faults: there is no %q: see --list", errUsage, name)
		}
	}
	_, known := mutantNamed(o.Mutant)
	switch {
	case rest > 0:
		return fmt.Errorf("%w: there are flags only", errUsage)
	case o.Nodes < 3 || o.Nodes > maxNodes-2:
		return fmt.Errorf("%w: --nodes %d: from 3 to %d", errUsage, o.Nodes, maxNodes-2)
	case o.For <= 0:
		return fmt.Errorf("%w: --for %v", errUsage, o.For)
	case o.Idle < minIdle:
		return fmt.Errorf("%w: --idle-timeout %v: at least %v, so that no user of some seconds has it run out", errUsage, o.Idle, minIdle)
	case o.Mutant != "" && !known:
		return fmt.Errorf("%w: --mutant: there is no %q: see --list", errUsage, o.Mutant)
	case o.Binary != "" && (o.Mutants || o.Mutant != ""):
		return fmt.Errorf("%w: --binary: a bug is built into a program of its own", errUsage)
	}
	return nil
}
