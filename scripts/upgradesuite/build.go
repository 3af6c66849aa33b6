package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// errNoHistory is for trees that came without their history, or without the revision.
var errNoHistory = errors.New("the repository's history is not here")

// programs is what runs before the upgrade and after it.
type programs struct {
	revision, subject      string
	oldBinary, newBinary   string
	oldVersion, newVersion int
	guarded                bool // the old program knows by itself what a crash leaves: see identityRunning in cluster/data.go
}

// versionFile says which version of commands a tree knows.
const versionFile = "cluster/session/command.go"

var versionLine = regexp.MustCompile(`(?m)^\s+MaxVersion\s*=\s*([0-9]+)`)

// build builds the program of a revision, "": the last one of an older version, and that of this tree.
func build(ctx context.Context, dir, revision string) (*programs, error) {
	today, err := os.ReadFile(filepath.FromSlash(versionFile))
	if err != nil {
		return nil, fmt.Errorf("this is to be run in the repository's root: %w", err)
	}
	p := &programs{oldBinary: filepath.Join(dir, "cloakroom-old"), newBinary: filepath.Join(dir, "cloakroom-new")}
	if p.newVersion, err = versionIn(string(today)); err != nil {
		return nil, err
	}
	if revision == "" {
		if revision, err = lastOlder(ctx, p.newVersion); err != nil {
			return nil, err
		}
	}
	if p.revision, err = git(ctx, "rev-parse", "--short", "--verify", "--quiet", revision+"^{commit}"); err != nil {
		return nil, fmt.Errorf("there is no revision %q: %w", revision, err)
	}
	text, err := git(ctx, "show", p.revision+":"+versionFile)
	if err != nil {
		return nil, err
	}
	if p.oldVersion, err = versionIn(text); err != nil {
		return nil, err
	}
	if p.subject, err = git(ctx, "log", "-1", "--format=%s", p.revision); err != nil {
		return nil, err
	}
	if text, err = git(ctx, "show", p.revision+":cluster/data.go"); err != nil {
		return nil, err
	}
	p.guarded = strings.Contains(text, "identityRunning")
	tree := filepath.Join(dir, "tree")
	if err := extract(ctx, p.revision, tree); err != nil {
		return nil, err
	}
	return p, errors.Join(goBuild(ctx, tree, p.oldBinary), goBuild(ctx, ".", p.newBinary))
}

func versionIn(text string) (int, error) {
	m := versionLine.FindStringSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf("no version of commands in %s", versionFile)
	}
	return strconv.Atoi(m[1])
}

// lastOlder returns the last revision that knows an older version than the given one.
func lastOlder(ctx context.Context, version int) (string, error) {
	changed, err := git(ctx, "log", "--format=%H", "--", versionFile)
	if err != nil {
		return "", fmt.Errorf("%w: %w", errNoHistory, err)
	}
	for commit := range strings.Lines(changed) {
		text, err := git(ctx, "show", strings.TrimSpace(commit)+"^:"+versionFile)
		if err != nil {
			break // the first commit, or where a shallow history ends
		}
		if v, err := versionIn(text); err == nil && v < version {
			return strings.TrimSpace(commit) + "^", nil
		}
	}
	return "", fmt.Errorf("%w: no revision of an older version is in what there is", errNoHistory)
}

func git(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, "git", args...).Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w", args[0], err)
	}
	return strings.TrimSpace(string(out)), nil
}

// extract writes the tree of a revision. A worktree would leave a trace in the repository if this is killed.
func extract(ctx context.Context, revision, dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	archive := filepath.Join(dir, "tree.tar")
	if _, err := git(ctx, "archive", "--format=tar", "--output="+archive, revision); err != nil {
		return err
	}
	if out, err := exec.CommandContext(ctx, "tar", "-xf", archive, "-C", dir).CombinedOutput(); err != nil {
		return fmt.Errorf("extract %s: %w: %s", revision, err, out)
	}
	return os.Remove(archive)
}

func goBuild(ctx context.Context, tree, binary string) error {
	// Without its folder's name in it, a program that was built before is built at once.
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-o", binary, "./node")
	cmd.Dir = tree
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build in %s: %w\n%s", tree, err, out)
	}
	return nil
}
