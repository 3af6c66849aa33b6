package mutant

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const source = `package sample

func Double(n int) int { return 2 * n }

func Same(n int) int { return n }

func Wait() {}
`

const tests = `package sample

import (
	"flag"
	"testing"
)

var want = flag.Int("want", 4, "what twice two is")

func TestDouble(t *testing.T) {
	if got := Double(2); got != *want {
		t.Fatal(got)
	}
	Wait()
}
`

// sample is a module with one function and its test.
func sample(t *testing.T) string {
	root := t.TempDir()
	for name, text := range map[string]string{"go.mod": "module sample\n\ngo 1.26\n", "sub/sample.go": source, "sub/sample_test.go": tests} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// Several bugs of one file must all be in it.
func TestOverlayOfOneFile(t *testing.T) {
	root, dir := sample(t), t.TempDir()
	bug := func(old, replacement string) Mutant { return Mutant{File: "sub/sample.go", Old: old, New: replacement} }
	if _, err := Overlay(root, dir, bug("2 * n", "3 * n"), bug("Wait() {}", "Wait() { for {} }")); err != nil {
		t.Fatal(err)
	}
	want := strings.NewReplacer("2 * n", "3 * n", "Wait() {}", "Wait() { for {} }").Replace(source)
	if text, err := os.ReadFile(filepath.Join(dir, "mutant0_sample.go")); err != nil || string(text) != want {
		t.Errorf("%s, %v", text, err)
	}
	if _, err := Overlay(root, dir, bug("2 * n", "3 * n"), bug("2 * n", "3 * n")); !errors.Is(err, ErrStale) {
		t.Errorf("a change of what is gone: %v", err)
	}
}

func TestTry(t *testing.T) {
	const file = "sub/sample.go"
	double := Test{Package: "./sub", Run: "TestDouble"}
	for _, c := range []struct {
		name   string
		old    string
		new    string
		test   Test
		caught bool
		err    error
	}{
		{name: "a bug that shows", old: "2 * n", new: "3 * n", test: double, caught: true},
		{name: "a bug that panics", old: "return 2 * n", new: `panic("no")`, test: double, caught: true},
		{name: "a change that does not show", old: "return n", new: "return n + 1", test: double},
		{name: "a change that a flag hides", old: "2 * n", new: "3 * n", test: Test{Package: "./sub", Run: "TestDouble", Args: []string{"-want=6"}}},
		{name: "not Go", old: "2 * n", new: "2 n", test: double, err: ErrBuild},
		{name: "not there", old: "4 * n", new: "3 * n", test: double, err: ErrStale},
		{name: "there twice", old: "func", new: "type", test: double, err: ErrStale},
		{name: "no change", old: "2 * n", new: "2 * n", test: double, err: ErrNoChange},
		{name: "another test", old: "2 * n", new: "3 * n", test: Test{Package: "./sub", Run: "TestTriple"}, err: ErrNoTests},
		{name: "an unknown flag", old: "2 * n", new: "3 * n", test: Test{Package: "./sub", Run: "TestDouble", Args: []string{"-what"}}, err: ErrNoTests},
		{name: "for ever", old: "Wait() {}", new: "Wait() { for {} }", test: Test{Package: "./sub", Run: "TestDouble", Limit: time.Second}, err: ErrHung},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := sample(t)
			outcome, err := Try(t.Context(), root, t.TempDir(), Mutant{Name: c.name, File: file, Old: c.old, New: c.new}, c.test)
			if !errors.Is(err, c.err) || outcome.Caught != c.caught {
				t.Fatalf("caught %v, %v; want %v, %v", outcome.Caught, err, c.caught, c.err)
			}
			text, err := os.ReadFile(filepath.Join(root, file))
			if err != nil || string(text) != source {
				t.Fatalf("the source was changed: %v", err)
			}
		})
	}
}

func TestControl(t *testing.T) {
	root := sample(t)
	for want, caught := range map[string]bool{"-want=4": false, "-want=5": true} {
		outcome, err := Control(t.Context(), root, t.TempDir(), Test{Package: "./sub", Run: "TestDouble", Args: []string{want}})
		if err != nil || outcome.Caught != caught {
			t.Errorf("%s: failed %v, %v", want, outcome.Caught, err)
		}
	}
}

func TestRoot(t *testing.T) {
	root, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "cluster", "clustertest", "mutant", "mutant.go")); err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	if _, err := Root(); !errors.Is(err, ErrNoModule) {
		t.Fatal(err)
	}
}
