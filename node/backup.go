package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"cloakroom/cluster/backup"
	"cloakroom/cluster/session"
)

type backupCmd struct {
	Output string `short:"o" placeholder:"FILE" help:"Write to this file, which only its owner may read, instead of standard output: all of it, or it is not there."`
	Local  bool   `help:"Take what this node has without asking the others: for a cluster without a majority. What they have acknowledged may be missing."`

	clientFlags `embed:""`
}

// Help implements kong.HelpProvider.
func (*backupCmd) Help() string {
	return "The backup is the state at one index of the log, with all that was acknowledged before the command was given; the cluster serves on. " +
		"It is checked on its way: exit code 0 says that it is whole. There is no usable token in it, and the secrets of realms are sealed " +
		"under the cluster key, which is not in it: keep that one elsewhere. Where the node has --data-key-file it is encrypted under its first key; " +
		"where not, names, addresses, attributes and hashes of passwords are in the clear, and the command says so."
}

// Run implements the command backup.
func (b *backupCmd) Run(ctx context.Context, a *app) error {
	out, isFile := a.stdout.(*os.File)
	if b.Output == "" && isFile && isTerminal(out) {
		return usagef("a backup is no text: redirect it into a file, or name one by --output")
	}
	c, err := a.client(&b.clientFlags)
	if err != nil {
		return err
	}
	query := url.Values{}
	if b.Local {
		query.Set("level", string(backup.Local))
	}
	var info backup.Info
	take := func(to io.Writer) error {
		return c.download(ctx, query, to, &info)
	}
	report := a.stderr // standard output is the backup's
	if b.Output == "" {
		err = take(a.stdout)
	} else {
		report = a.stdout
		var orderly context.CancelFunc
		ctx, orderly = signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM) // what there is of the file is to go
		defer orderly()
		context.AfterFunc(ctx, orderly) // a second one ends the command as it is
		err = writeWhole(b.Output, take)
	}
	if err != nil {
		return fmt.Errorf("back up: %w", withCode(err))
	}
	if b.JSON {
		return printJSON(report, &info)
	}
	_, err = fmt.Fprintf(report, "Backup of cluster %s at index %d: %s.\n%s\n", info.Cluster, info.Index, contents(&info), sealing(&info))
	return err
}

// download writes a backup as it comes and checks it meanwhile.
func (c *client) download(ctx context.Context, query url.Values, to io.Writer, info *backup.Info) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	patience := time.AfterFunc(ClientTimeout, func() { cancel(errSilent) })
	defer patience.Stop()
	err := c.stream(ctx, http.MethodPost, "/api/cluster/backup", query, func(body io.Reader) (err error) {
		heard := readerFunc(func(b []byte) (int, error) {
			n, err := body.Read(b)
			patience.Reset(ClientTimeout)
			return n, err
		})
		*info, err = backup.Verify(io.TeeReader(heard, to))
		return err
	})
	if cause := context.Cause(ctx); err != nil && errors.Is(cause, errSilent) {
		return cause
	}
	return err
}

// errSilent is a node that sends nothing more.
var errSilent = fmt.Errorf("the node has sent nothing for %v", ClientTimeout)

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// writeWhole makes a file of what write writes, or leaves things as they were. What a link leads to is replaced, not the
// link; and what is no file is left alone: to put one in the place of /dev/null would be noticed by everybody else.
func writeWhole(path string, write func(io.Writer) error) (err error) {
	if there, err := filepath.EvalSymlinks(path); err == nil {
		path = there
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no file that can be replaced: without --output it goes to standard output", path)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // the owner's alone
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp.Name()) }() // gone when the rename succeeded
	err = write(tmp)
	if err == nil {
		err = tmp.Sync()
	}
	if err := errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}

type inspectCmd struct {
	File string `arg:"" help:"The backup, - for standard input."`
	JSON bool   `name:"json" help:"Print JSON for programs."`
}

// Help implements kong.HelpProvider.
func (*inspectCmd) Help() string {
	return "The whole file is read, and its checksum compared. No key is needed; what is sealed stays so. Exit code 1 and a code in the message " +
		"say what is wrong: not-a-backup, backup-truncated, backup-damaged, backup-newer."
}

// Run implements the command inspect.
func (i *inspectCmd) Run(a *app) error {
	source := a.stdin
	if i.File != "-" {
		file, err := os.Open(i.File)
		if err != nil {
			return &usageError{err}
		}
		defer func() { _ = file.Close() }() // only read
		source = file
	}
	info, err := backup.Verify(source)
	if err != nil {
		return fmt.Errorf("%s: %w", i.File, withCode(err))
	}
	if i.JSON {
		return printJSON(a.stdout, &info)
	}
	for _, line := range [][2]string{
		{"cluster", info.Cluster},
		{"index", fmt.Sprintf("%d, term %d", info.Index, info.Term)},
		{"cluster time", info.Clock.Format(time.RFC3339Nano)},
		{"made", info.Made.Format(time.RFC3339) + " by " + info.Node + ", " + info.Program},
		{"holds", contents(&info)},
		{"level", levelOf(&info)},
		{"encryption", sealing(&info)},
		{"checksum", "right: the file is whole"},
	} {
		if _, err := fmt.Fprintf(a.stdout, "%-13s %s\n", line[0], printable(line[1])); err != nil {
			return fmt.Errorf("print what is in the backup: %w", err)
		}
	}
	return nil
}

func contents(i *backup.Info) string {
	return fmt.Sprintf("%d users, %d roles, %d realms, %d sessions, %d of sessions that were ended lately", i.Users, i.Roles, i.Realms, i.Sessions, i.Tombstones)
}

func levelOf(i *backup.Info) string {
	if i.Level == backup.Quorum {
		return "quorum: all that was acknowledged before it was asked for"
	}
	return string(i.Level) + ": what the node had; what others had acknowledged may be missing"
}

func sealing(i *backup.Info) string {
	if i.DataKey != "" {
		return "Encrypted under data key " + i.DataKey + ": it can't be restored without it."
	}
	return "NOT encrypted: keep it as you keep a data directory. It holds names, addresses, attributes and hashes of passwords."
}

// withCode adds the code of an error that has one, as the answers of the API do.
func withCode(err error) error {
	if e, ok := errors.AsType[*session.Error](err); ok {
		return &codedError{err, e.Code}
	}
	return err
}

type codedError struct {
	error
	code string
}

func (e *codedError) Error() string { return e.error.Error() + " (" + e.code + ")" }
func (e *codedError) Unwrap() error { return e.error }
