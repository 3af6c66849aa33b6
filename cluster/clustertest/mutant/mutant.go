// Package mutant owns bugs on purpose: it makes one in a copy of a source file and tells whether a test notices. It does
// not own the bugs, which stand beside the tests that must catch them; the code that is shipped holds none of it.
package mutant

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// What keeps a mutant from being one.
var (
	// ErrStale is for the table of mutants: the code that it changes is not there any more, or is there several times.
	ErrStale    = errors.New("the text to replace must occur exactly once")
	ErrNoChange = errors.New("the replacement changes nothing")
	ErrNoModule = errors.New("no go.mod here or above")
)

// Mutant is one bug: a piece of a file and what stands there instead.
type Mutant struct {
	Name string
	File string // relative to the module's root, with slashes
	Old  string // occurs exactly once in it
	New  string
}

// Overlay writes the file with the bug and an overlay for `go build` and `go test` into dir, whose former overlay it
// replaces, and returns the overlay's path. The source itself stays as it is.
func Overlay(root, dir string, m Mutant) (path string, err error) {
	if m.Old == m.New {
		return "", fmt.Errorf("mutant %q: %w", m.Name, ErrNoChange)
	}
	// The tool compares absolute paths as they are written.
	if root, err = filepath.Abs(root); err != nil {
		return "", fmt.Errorf("mutant %q: %w", m.Name, err)
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return "", fmt.Errorf("mutant %q: %w", m.Name, err)
	}
	source := filepath.Join(root, filepath.FromSlash(m.File))
	text, err := os.ReadFile(source)
	if err != nil {
		return "", fmt.Errorf("mutant %q: %w", m.Name, err)
	}
	if n := strings.Count(string(text), m.Old); n != 1 {
		return "", fmt.Errorf("mutant %q: %s: %w, and occurs %d times", m.Name, m.File, ErrStale, n)
	}
	changed := filepath.Join(dir, "mutant_"+filepath.Base(m.File))
	if err := os.WriteFile(changed, []byte(strings.Replace(string(text), m.Old, m.New, 1)), 0o600); err != nil {
		return "", fmt.Errorf("mutant %q: %w", m.Name, err)
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {source: changed}})
	if err != nil {
		return "", fmt.Errorf("mutant %q: %w", m.Name, err)
	}
	path = filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(path, overlay, 0o600); err != nil {
		return "", fmt.Errorf("mutant %q: %w", m.Name, err)
	}
	return path, nil
}

// Root returns the folder of the module that the working directory lies in.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", ErrNoModule
		}
		dir = parent
	}
}
