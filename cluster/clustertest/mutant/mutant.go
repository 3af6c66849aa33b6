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

// Overlay writes the files with the bugs and an overlay for `go build` and `go test` into dir, whose former overlay it
// replaces, and returns the overlay's path. Several bugs may be in one file: each is made in what the one before it has
// left. The sources themselves stay as they are.
func Overlay(root, dir string, mutants ...Mutant) (path string, err error) {
	// The tool compares absolute paths as they are written.
	if root, err = filepath.Abs(root); err != nil {
		return "", fmt.Errorf("overlay: %w", err)
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return "", fmt.Errorf("overlay: %w", err)
	}
	texts := map[string]string{} // by source
	for _, m := range mutants {
		source := filepath.Join(root, filepath.FromSlash(m.File))
		if _, changed := texts[source]; !changed {
			text, err := os.ReadFile(source)
			if err != nil {
				return "", fmt.Errorf("mutant %q: %w", m.Name, err)
			}
			texts[source] = string(text)
		}
		if texts[source], err = m.of(texts[source]); err != nil {
			return "", fmt.Errorf("mutant %q: %s: %w", m.Name, m.File, err)
		}
	}
	replace := map[string]string{}
	for source, text := range texts {
		// Names differ, and the last part tells a reader of the compiler's messages what it is.
		changed := filepath.Join(dir, fmt.Sprintf("mutant%d_%s", len(replace), filepath.Base(source)))
		if err := os.WriteFile(changed, []byte(text), 0o600); err != nil {
			return "", fmt.Errorf("overlay: %w", err)
		}
		replace[source] = changed
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": replace})
	if err != nil {
		return "", fmt.Errorf("overlay: %w", err)
	}
	path = filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(path, overlay, 0o600); err != nil {
		return "", fmt.Errorf("overlay: %w", err)
	}
	return path, nil
}

// of returns a source with the bug in it.
func (m Mutant) of(text string) (string, error) {
	if m.Old == m.New {
		return "", ErrNoChange
	}
	if n := strings.Count(text, m.Old); n != 1 {
		return "", fmt.Errorf("%w, and occurs %d times", ErrStale, n)
	}
	return strings.Replace(text, m.Old, m.New, 1), nil
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
