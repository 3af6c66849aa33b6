package consensus

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"github.com/klauspost/compress/zstd"

	"cloakroom/cluster/session"
)

var update = flag.Bool("update", false, "write the frozen files that are missing; those that are there stay as they are")

// The archives under testdata are data directories as nodes of each version of the commands left them: log, term and vote
// in raft.db, and a snapshot from the midst of the log. Beside each stands what a node is to find in it. They never
// change: a later version that can't read them can't take over a member's data.

// frozenData is what a node finds in a frozen directory.
type frozenData struct {
	Version  int    // of the commands
	Snapshot uint64 // index
	Applied  uint64 // index of the last command
	State    string // hash of the state there
	Term     uint64
	Kinds    int // of commands in the log: 1 to this
}

const frozenFormat = "version %d\nsnapshot %d\napplied %d\nstate %s\nterm %d\nkinds %d\n"

func frozenFile(version int, suffix string) string {
	return filepath.Join("testdata", fmt.Sprintf("data-%d.%s", version, suffix))
}

// TestFrozenData opens copies of the directories as this version would its own: by the snapshot and the rest of the log,
// and by the log alone. Both must lead to the state that was there, and the node must go on from it.
func TestFrozenData(t *testing.T) {
	for version := 1; version <= session.MaxVersion; version++ {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			if *update {
				freeze(t, version)
			}
			want := readFrozen(t, version)
			for name, snapshots := range map[string]uint64{"by snapshot": 1, "by log": 0} {
				t.Run(name, func(t *testing.T) {
					dir := t.TempDir()
					unpack(t, frozenFile(version, "tar.zst"), dir)
					if kinds := kindsIn(t, dir); len(kinds) != want.Kinds || int(kinds[len(kinds)-1]) != want.Kinds {
						t.Errorf("the log has commands of the kinds %v, not of 1 to %d", kinds, want.Kinds)
					}
					if snapshots == 0 {
						if err := os.RemoveAll(filepath.Join(dir, snapshotDir)); err != nil {
							t.Fatal(err)
						}
					}
					checkFrozen(t, dir, want, snapshots)
				})
			}
		})
	}
}

func checkFrozen(t *testing.T, dir string, want frozenData, snapshots uint64) {
	t.Helper()
	n := alone(t, dir, Config{})
	if last := n.Stats().LastLogIndex; last < want.Applied {
		t.Fatalf("the log ends at %d, want %+v", last, want)
	}
	if err := n.WaitApplied(t.Context(), want.Applied); err != nil {
		t.Fatal(err)
	}
	state := hashOf(n)
	if got := hex.EncodeToString(state[:]); got != want.State {
		t.Errorf("state %s, want %s", got, want.State)
	}
	if s := n.Stats(); s.Applied != want.Applied || s.Restores != snapshots || s.SnapshotIndex != snapshots*want.Snapshot || s.Term <= want.Term {
		t.Errorf("%+v, want %+v", s, want)
	}
	if servers, err := n.Servers(); err != nil || len(servers) != 1 || servers[0].ID != "n1" || !servers[0].Voter {
		t.Errorf("members %+v, %v", servers, err)
	}
	put(t, n, role("after", 1))
	if err := n.Snapshot(t.Context()); err != nil {
		t.Fatal(err)
	}
	state, applied := hashOf(n), n.Applied()
	closeNode(t, n)
	if n = alone(t, dir, Config{}); n.Applied() != applied || hashOf(n) != state {
		t.Error("the state has changed over a restart")
	}
}

// kindsIn returns the kinds of the commands in a directory's log.
func kindsIn(t *testing.T, dir string) []session.Kind {
	t.Helper()
	d := reopen(t, dir)
	defer func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}()
	last, err := d.Log.LastIndex()
	if err != nil {
		t.Fatal(err)
	}
	var kinds []session.Kind
	for i := uint64(1); i <= last; i++ {
		var log raft.Log
		if err := d.Log.GetLog(i, &log); err != nil {
			t.Fatal(err)
		}
		if log.Type != raft.LogCommand {
			continue
		}
		entry, err := session.DecodeEntry(log.Data)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range entry.Commands {
			kinds = append(kinds, c.Kind())
		}
	}
	slices.Sort(kinds)
	return slices.Compact(kinds)
}

func readFrozen(t *testing.T, version int) (f frozenData) {
	t.Helper()
	text, err := os.ReadFile(frozenFile(version, "txt"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscanf(string(text), frozenFormat, &f.Version, &f.Snapshot, &f.Applied, &f.State, &f.Term, &f.Kinds); err != nil {
		t.Fatal(err)
	}
	if f.Version != version || f.Snapshot == 0 || f.Applied <= f.Snapshot {
		t.Fatalf("%+v freezes nothing", f)
	}
	return f
}

// freeze makes the directory of a version, if there is none: a node carries out the frozen log of package session, with a
// change of the members before the snapshot and after it.
func freeze(t *testing.T, version int) {
	t.Helper()
	archive := frozenFile(version, "tar.zst")
	if _, err := os.Stat(archive); !errors.Is(err, fs.ErrNotExist) {
		return
	}
	dir := t.TempDir()
	n := alone(t, dir, Config{})
	entries := frozenEntries(t, version)
	for i, entry := range entries {
		if _, err := n.Propose(t.Context(), entry).Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		switch i {
		case len(entries) / 3:
			change(t, func(ctx context.Context) error { return n.AddNonvoter(ctx, "n2", "127.0.0.1:1") })
		case len(entries) / 2:
			if err := n.Snapshot(t.Context()); err != nil {
				t.Fatal(err)
			}
		case len(entries) * 2 / 3:
			change(t, func(ctx context.Context) error { return n.Remove(ctx, "n2") })
		}
	}
	state := hashOf(n)
	s := n.Stats()
	closeNode(t, n)
	facts := fmt.Sprintf(frozenFormat, version, s.SnapshotIndex, s.Applied, hex.EncodeToString(state[:]), s.Term, len(kindsIn(t, dir)))
	if err := errors.Join(
		os.MkdirAll(filepath.Dir(archive), 0o755),
		os.WriteFile(archive, pack(t, dir), 0o644),
		os.WriteFile(frozenFile(version, "txt"), []byte(facts), 0o644),
	); err != nil {
		t.Fatal(err)
	}
}

func change(t *testing.T, f func(context.Context) error) {
	t.Helper()
	if err := f(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func frozenEntries(t *testing.T, version int) (entries [][]byte) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "session", "testdata", "frozen", fmt.Sprintf("log-%d.txt", version)))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if entry, ok := strings.CutPrefix(line, "entry "); ok {
			b, err := hex.DecodeString(strings.TrimSpace(entry))
			if err != nil {
				t.Fatal(err)
			}
			entries = append(entries, b)
		}
	}
	return entries
}

// pack makes an archive of a directory.
func pack(t *testing.T, dir string) []byte {
	t.Helper()
	var b bytes.Buffer
	compressed, err := zstd.NewWriter(&b, zstd.WithEncoderLevel(zstd.SpeedBestCompression))
	if err != nil {
		t.Fatal(err)
	}
	archive := tar.NewWriter(compressed)
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		header := &tar.Header{Name: filepath.ToSlash(name), Mode: 0o600, Size: int64(len(content)), ModTime: time.Unix(0, 0)}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		_, err = archive.Write(content)
		return err
	})
	if err := errors.Join(err, archive.Close(), compressed.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func unpack(t *testing.T, file, dir string) {
	t.Helper()
	compressed, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	decoder, err := zstd.NewReader(bytes.NewReader(compressed))
	if err != nil {
		t.Fatal(err)
	}
	defer decoder.Close()
	archive := tar.NewReader(decoder)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(archive)
		path := filepath.Join(dir, filepath.FromSlash(header.Name))
		if err := errors.Join(err, os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, content, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
}
