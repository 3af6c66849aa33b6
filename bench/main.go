// Command bench owns the figures that are quoted of the product: it measures a cluster beside its peers, scenario by
// scenario, holds the figures against the targets, and writes a report; it also puts load on running nodes. It knows the
// product over HTTP only.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // while running, or requests failed
	exitUsage  = 2
)

// cli is the command line.
type cli struct {
	All    allCmd    `cmd:"" default:"withargs" help:"Measure everything, beside the peers, and write a report (what happens without a command)."`
	Lookup lookupCmd `cmd:"" help:"Look up random sessions on running nodes."`
	Put    putCmd    `cmd:"" help:"Overwrite an attribute of random sessions on running nodes."`
	Create createCmd `cmd:"" help:"Make sessions on running nodes."`
	Hog    hogCmd    `cmd:"" hidden:"" help:"Keep one processor busy: the busy processes of scenario elections."`
	Bare   bareCmd   `cmd:"" help:"Serve a bare fasthttp handler: the peer fasthttp."`
}

// app is what the commands need of the process.
type app struct {
	stdout io.Writer // results
	stderr io.Writer // progress
	env    func(string) (string, bool)
}

// usageError is wrong use of the command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	a := &app{stdout: os.Stdout, stderr: os.Stderr, env: os.LookupEnv}
	code := a.run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// run runs one command line and returns the exit code.
func (a *app) run(ctx context.Context, args []string) int {
	var c cli
	parser, err := kong.New(&c, kong.Name("bench"), kong.UsageOnError(), kong.Writers(a.stdout, a.stderr),
		kong.Vars{"scenarios": "There are " + strings.Join(scenarioNames(), ", ") + "."},
		kong.Description("Measures a cluster of this tree, or a running one, beside its peers. Results go to standard output, progress to standard error."))
	if err != nil {
		panic("BUG: command line: " + err.Error())
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		a.complain(err)
		return exitUsage
	}
	parsed.BindTo(ctx, (*context.Context)(nil))
	if err := parsed.Run(a); err != nil {
		a.complain(err)
		if _, usage := errors.AsType[usageError](err); usage {
			return exitUsage
		}
		return exitFailed
	}
	return exitOK
}

func (a *app) complain(err error) {
	fmt.Fprintf(a.stderr, "bench: %v\n", err) //nolint:errcheck // there is nowhere else to say it
}

// progressf writes a line of progress.
func (a *app) progressf(format string, args ...any) {
	fmt.Fprintf(a.stderr, format+"\n", args...) //nolint:errcheck // progress only
}
