package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"
)

// What the program's exit tells its caller.
const (
	exitStopped = 0  // done, or stopped cleanly
	exitFailed  = 1  // failed while running, or while something was in the way that may go
	exitWrong   = 64 // wrong use: nothing was begun. EX_USAGE of sysexits.h, for 2 is what Go ends a panic with
)

// usageError is wrong use: what was asked for can't be done as it was asked.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

// grammar is the command line.
type grammar struct {
	Config string `group:"file" placeholder:"FILE" help:"Configuration file, YAML: the flags of serve without their dashes."`

	Serve      serveCmd         `cmd:"" help:"Run a node (what happens without a command)."`
	Keygen     keygenCmd        `cmd:"" help:"Print a new cluster key."`
	Members    membersCmd       `cmd:"" help:"List the nodes of the cluster."`
	Promote    promoteCmd       `cmd:"" help:"Let a node vote."`
	Demote     demoteCmd        `cmd:"" help:"Let a node vote no more."`
	Remove     removeCmd        `cmd:"" help:"Take a node out of the cluster for good."`
	Transfer   transferCmd      `cmd:"" name:"transfer-leadership" help:"Let another voter lead."`
	Drain      drainCmd         `cmd:"" help:"Take this node out of service for a while, or back with --undo."`
	Ready      readyCmd         `cmd:"" help:"Say whether a node is ready for requests; for health checks."`
	Sessions   sessionsCmd      `cmd:"" help:"List or end sessions."`
	LogLevel   logLevelCmd      `cmd:"" name:"log-level" help:"Show or change how much a running node logs."`
	Limits     limitsCmd        `cmd:"" help:"Show or set the limits of the cluster: sessions a user, sessions in all, attributes."`
	Doctor     doctorCmd        `cmd:"" help:"Check a configuration against the security floor, item by item; takes the flags of serve."`
	User       userCmd          `cmd:"" help:"Manage the users of the realm native."`
	Bundle     supportBundleCmd `cmd:"" name:"support-bundle" help:"Write what a node can say of itself, without secrets, for somebody who looks for what is wrong."`
	Backup     backupCmd        `cmd:"" help:"Write a backup of the cluster to standard output, while it serves."`
	Inspect    inspectCmd       `cmd:"" help:"Check a backup, and say what is in it."`
	Restore    restoreCmd       `cmd:"" help:"Begin a new cluster with a backup, in an empty data directory."`
	Recover    recoverCmd       `cmd:"" help:"Begin a new cluster with what one node has, when most others are lost for good."`
	Version    versionCmd       `cmd:"" help:"Print the version."`
	Completion completionCmd    `cmd:"" help:"Print what a shell needs to complete commands and flags."`
	Complete   completeCmd      `cmd:"" hidden:"" help:"Complete a command line, for a shell."`
	Manual     manualCmd        `cmd:"" help:"Print the manual."`
	HashWorker hashWorkerCmd    `cmd:"" name:"hash-worker" hidden:"" help:"Compute password hashes for a node."`
	Help       helpCmd          `cmd:"" help:"Explain a command."`
}

// app is one run of the program: its streams, its environment, and where its settings came from.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	lookup         func(string) (string, bool)
	exit           func(int) // ends the process at once

	settings *settings
	lines    *lineReader // over stdin; made at first use
}

// main runs one command line and returns the exit code.
func (a *app) main(ctx context.Context, args []string) int {
	err := a.run(ctx, args)
	if err == nil {
		return exitStopped
	}
	_, _ = fmt.Fprintf(a.stderr, "cloakroom: %s\n", oneLine(err)) // there is nowhere left to complain
	_, usage := errors.AsType[*usageError](err)
	_, flag := errors.AsType[*FlagError](err)
	if usage || flag {
		return exitWrong
	}
	return exitFailed
}

func (a *app) run(ctx context.Context, args []string) error {
	var g grammar
	command, err := a.parse(ctx, &g, args)
	if err != nil {
		return err
	}
	return a.settings.explain(command.Run())
}

// parse fills the grammar from the command line, the environment and the configuration file.
func (a *app) parse(ctx context.Context, g *grammar, args []string) (*kong.Context, error) {
	a.settings = &settings{lookup: a.lookup, source: make(map[string]string)}
	parser, err := kong.New(g,
		kong.Name("cloakroom"),
		kong.Description("A clustered session store: leave your things at any counter, collect them at any counter."),
		kong.Writers(a.stdout, a.stderr),
		kong.Bind(a),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.ValueFormatter(explainFlag),
		kong.WithHyphenPrefixedParameters(true), // so that a negative time is refused as what it is
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true, WrapUpperBound: 110}),
		kong.ExplicitGroups([]kong.Group{
			{Key: "file", Title: "Configuration:"},
			{Key: "node", Title: "This node:"},
			{Key: "cluster", Title: "The cluster:"},
			{Key: "sessions", Title: "Sessions:"},
			{Key: "http", Title: "HTTP:"},
			{Key: "passwords", Title: "Passwords (argon2id):"},
			{Key: "client", Title: "Which node, and as whom:"},
		}),
	)
	if err != nil {
		panic("BUG: the grammar of the command line: " + err.Error())
	}
	command, err := parser.Parse(withCommand(args))
	if err != nil {
		return nil, &usageError{a.settings.explain(err)}
	}
	return command, nil
}

// BeforeResolve reads the configuration file, before the flags that the command line left open are looked up.
func (g *grammar) BeforeResolve(ctx *kong.Context, a *app) error {
	path := givenConfig(ctx)
	if path == "" {
		path, _ = a.lookup(envName("config"))
	}
	if path != "" {
		file, err := readConfigFile(path, serveFlags(ctx.Model))
		if err != nil {
			return err
		}
		a.settings.file = file
	}
	ctx.AddResolver(a.settings)
	return nil
}

func givenConfig(ctx *kong.Context) string {
	for _, flag := range ctx.Model.Flags {
		if flag.Name == "config" {
			path, _ := ctx.FlagValue(flag).(string)
			return path
		}
	}
	return ""
}

// serveFlags returns the names that a configuration file may use.
func serveFlags(model *kong.Application) map[string]bool {
	known := make(map[string]bool)
	for _, child := range model.Children {
		if child.Name != "serve" {
			continue
		}
		for _, flag := range child.Flags {
			known[flag.Name] = true
		}
	}
	return known
}

// withCommand puts serve before a command line that begins with a flag, and in place of an empty one.
func withCommand(args []string) []string {
	if len(args) > 0 && (!strings.HasPrefix(args[0], "-") || args[0] == "-h" || args[0] == "--help") {
		return args
	}
	return append([]string{"serve"}, args...)
}

// explainFlag adds a flag's default and its environment variable to its help.
func explainFlag(value *kong.Value) string {
	if value.Flag == nil || value.Name == "help" {
		return value.Help
	}
	help := strings.TrimSuffix(value.Help, ".")
	if value.HasDefault {
		help += " (default: " + value.Default + ")"
	}
	if hasEnv(value.Flag) {
		help += " [" + envName(value.Name) + "]"
	}
	return help + "."
}

// oneLine keeps a complaint on one line, whatever was quoted in it.
func oneLine(err error) string {
	return strings.Join(strings.Fields(err.Error()), " ")
}

type helpCmd struct {
	Command []string `arg:"" optional:"" help:"The command to explain."`
}

// Run implements the command help.
func (h *helpCmd) Run(ctx *kong.Context) error {
	target, err := kong.Trace(ctx.Kong, h.Command)
	if err != nil {
		return &usageError{err}
	}
	if target.Error != nil {
		return &usageError{target.Error}
	}
	return target.PrintUsage(false)
}
