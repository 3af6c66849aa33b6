package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"cloakroom/cluster"
	"cloakroom/cluster/session"
	"cloakroom/cluster/storage"
	"cloakroom/cluster/wire"
	"cloakroom/httpapi/realm"
)

// foundingFlags are those of the commands that found a cluster on a former one's state. Their names are those of serve, so
// the node's own configuration says the same to both.
type foundingFlags struct {
	DataDir        string `group:"node" default:"./cloakroom-data" placeholder:"DIR" help:"The node's data directory. No node may run on it."`
	DataKeyFile    string `group:"node" placeholder:"FILE" help:"Keys that the data directory, and a backup, are encrypted with."`
	ClusterKeyFile string `group:"cluster" placeholder:"FILE" help:"The cluster's secret. What the secrets of realms are sealed under must be among its lines."`

	EndSessions  bool `xor:"sessions" help:"End all sessions, and take over users, roles, realms and limits alone. This is what happens without it, too."`
	KeepSessions bool `xor:"sessions" help:"Let the sessions go on. Those that were ended after the state was saved, by a logout say, are live again."`
	JSON         bool `name:"json" help:"Print JSON for programs."`
}

type restoreCmd struct {
	File          string `arg:"" help:"The backup."`
	foundingFlags `embed:""`
}

// Help implements kong.HelpProvider.
func (*restoreCmd) Help() string {
	return "The data directory must be empty: start the node on it afterwards, as ever, and the others on empty ones with --join. " +
		"They are a new cluster: nodes of the former one, if any still run, are neither let in nor listened to. " +
		"What was done after the backup is not in it, and that goes for logouts, too: so all sessions are ended, unless you say --keep-sessions. " +
		"When something is wrong nothing is changed, and a code in the message says what it is."
}

// Run implements the command restore.
func (r *restoreCmd) Run(a *app) error {
	file, err := os.Open(r.File)
	if err != nil {
		return &usageError{err}
	}
	defer func() { _ = file.Close() }() // only read
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return usagef("%s: a backup is read twice, so it has to be a file", r.File)
	}
	return a.founding(&r.foundingFlags, "a restored backup", func(f *cluster.Founding) error {
		info, founded, err := f.Restore(file)
		switch {
		case errors.Is(err, cluster.ErrNotEmpty):
			return flagErrorf("data-dir", "%s: %v", r.DataDir, withCode(err))
		case err != nil:
			return fmt.Errorf("restore %s: %w", r.File, withCode(err))
		}
		return a.reportFounded(&r.foundingFlags, founded, fmt.Sprintf("Restored the backup of %s", info.Made.Format(time.RFC3339)))
	})
}

type recoverCmd struct {
	Yes           bool `help:"Do it. Without it the command says what it would do, and changes nothing."`
	foundingFlags `embed:""`
}

// Help implements kong.HelpProvider.
func (*recoverCmd) Help() string {
	return "For a cluster that has lost a majority of its voters, and their disks, for good. Of the nodes that are left take the one with the " +
		"highest term, and of several with that the one with the highest index; the command shows both without --yes. A higher index at a lower term " +
		"is what a leader wrote that was cut off, and nobody was promised. Empty the data directories of all others, the lost ones too should they " +
		"come back, and start them with --join once this one runs. What the node has becomes the first state of a new cluster: what only the lost nodes had " +
		"acknowledged is lost, logouts too, so all sessions are ended, unless you say --keep-sessions. What was there before is kept in the data directory."
}

// Run implements the command recover.
func (r *recoverCmd) Run(a *app) error {
	if _, err := os.Stat(r.DataDir); errors.Is(err, fs.ErrNotExist) {
		return flagErrorf("data-dir", "%s: there is no such directory", r.DataDir) // else it would be made
	}
	return a.founding(&r.foundingFlags, "a recovery", func(f *cluster.Founding) error {
		if !r.Yes {
			found, err := f.Survey()
			if err != nil {
				return r.explain(err)
			}
			if err := a.reportSurvey(&r.foundingFlags, found); err != nil {
				return err
			}
			return usagef("nothing was changed: add --yes to begin a new cluster with this")
		}
		founded, err := f.Recover()
		if err != nil {
			return r.explain(err)
		}
		return a.reportFounded(&r.foundingFlags, founded, "Recovered what this node had")
	})
}

func (r *recoverCmd) explain(err error) error {
	switch {
	case errors.Is(err, storage.ErrLocked):
		return flagErrorf("data-dir", "%s is in use by another node", r.DataDir)
	case errors.Is(err, storage.ErrNoDataKeys), errors.Is(err, storage.ErrWrongDataKeys):
		return flagErrorf("data-key-file", "%v", err)
	case errors.Is(err, cluster.ErrForeignData):
		return flagErrorf("cluster-key-file", "%s: %v", r.DataDir, err)
	}
	return fmt.Errorf("recover %s: %w", r.DataDir, withCode(err))
}

// founding locks the data directory and reads the keys for what founds a cluster in it.
func (a *app) founding(flags *foundingFlags, by string, found func(*cluster.Founding) error) (err error) {
	cfg := &Config{DataDir: flags.DataDir, DataKeyFile: flags.DataKeyFile, ClusterKeyFile: flags.ClusterKeyFile}
	secrets, err := a.secrets(cfg)
	if err != nil {
		return err
	}
	if flags.ClusterKeyFile == "" {
		if _, err := fmt.Fprintln(a.stderr, "no --cluster-key-file: the data directory is for the public development key, and a node with a key of its own won't take it"); err != nil {
			return fmt.Errorf("warn: %w", err)
		}
	}
	lock, err := lockDir(flags.DataDir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if err := storage.Inherit(flags.DataDir, []string{lockFile}); err != nil { // whatever comes of it, the node locks it next
		return fmt.Errorf("give the lock to the owner of the data directory: %w", err)
	}
	derived := secrets.cluster.Deriver(wire.PurposeSeal)
	return found(&cluster.Founding{
		DataDir: flags.DataDir, Keys: secrets.cluster, DataKeys: secrets.data, KeepSessions: flags.KeepSessions, By: by,
		Check:  func(m *session.Machine) error { return checkSecrets(m, derived()) },
		Logger: slog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
}

// checkSecrets finds the realm that could not ask its server any more under these keys.
func checkSecrets(m *session.Machine, keys [][32]byte) error {
	for _, r := range m.Realms() {
		if err := realm.CheckSealed(r.Type, r.Config, keys); err != nil {
			return fmt.Errorf("realm %q: %w", r.Name, cluster.ErrKeyNeeded)
		}
	}
	return nil
}

func (a *app) reportSurvey(flags *foundingFlags, found *cluster.Founded) error {
	if flags.JSON {
		return printJSON(a.stdout, found)
	}
	_, err := fmt.Fprintf(a.stdout, "This node has cluster %s up to term %d, index %d, %s: %d users, %d sessions.\n%s",
		found.Former, found.Term, found.Index, moment(found.Clock), found.Users, found.Sessions, removedNote(found))
	return err
}

func (a *app) reportFounded(flags *foundingFlags, founded *cluster.Founded, done string) error {
	if flags.JSON {
		return printJSON(a.stdout, founded)
	}
	sessions := fmt.Sprintf("%d sessions were ended", founded.Sessions)
	if founded.Kept {
		sessions = fmt.Sprintf("%d sessions go on, those among them that were ended after that, too", founded.Sessions)
	}
	text := fmt.Sprintf("%s, cluster %s up to term %d, index %d, %s, as cluster %s: %d users; %s.\n%s", done, founded.Former, founded.Term, founded.Index,
		moment(founded.Clock), founded.Cluster, founded.Users, sessions, removedNote(founded))
	if founded.Copy != "" {
		text += fmt.Sprintf("What there was before is in %s: remove it when all is well.\n", founded.Copy)
	}
	text += "Start this node now, and then the others with --join, on empty data directories.\n"
	_, err := fmt.Fprint(a.stdout, text)
	return err
}

func removedNote(f *cluster.Founded) string {
	if !f.Removed {
		return ""
	}
	return "It had been taken out of its cluster before: others may have more.\n"
}

// moment shows cluster time.
func moment(t session.Time) string { return time.UnixMilli(int64(t)).UTC().Format(time.RFC3339) }
