package mutant

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Why nothing can be said about a mutant.
var (
	ErrBuild   = errors.New("it does not compile") // a bug that the compiler finds shows nothing about a test
	ErrNoTests = errors.New("no test was run")
	ErrHung    = errors.New("the test was not done in time")
)

// Test is a test that may notice a bug.
type Test struct {
	Package string        // such as "./cluster"
	Run     string        // which tests, as for -run
	Build   []string      // flags of the build, such as "-race" or "-tags=faults"
	Args    []string      // the test's own flags
	Limit   time.Duration // of the run, without the build; 0: that of the context
}

// Outcome says what became of one run.
type Outcome struct {
	Caught bool
	Took   time.Duration // the run, without the build
	Output string        // of the run
}

// Try runs a test on the program with the bug in it. Caught means that the test failed by itself: whatever else keeps it
// from passing is an error (ErrStale, ErrBuild, ErrNoTests, ErrHung). Files go to dir.
func Try(ctx context.Context, root, dir string, m Mutant, t Test) (Outcome, error) {
	overlay, err := Overlay(root, dir, m)
	if err != nil {
		return Outcome{}, err
	}
	outcome, err := run(ctx, root, dir, overlay, t)
	if err != nil {
		return outcome, fmt.Errorf("mutant %q: %w", m.Name, err)
	}
	return outcome, nil
}

// Control runs a test on the program as it is. A test that fails then catches nothing.
func Control(ctx context.Context, root, dir string, t Test) (Outcome, error) {
	outcome, err := run(ctx, root, dir, "", t)
	if err != nil {
		return outcome, fmt.Errorf("without a bug: %w", err)
	}
	return outcome, nil
}

// run builds the test and runs it, in two steps: so a failure is the build's or the test's.
func run(ctx context.Context, root, dir, overlay string, t Test) (Outcome, error) {
	binary, err := filepath.Abs(filepath.Join(dir, "mutant.test"))
	if err != nil {
		return Outcome{}, err
	}
	args := append([]string{"test", "-c", "-o", binary}, t.Build...)
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	build := exec.CommandContext(ctx, "go", append(args, t.Package)...)
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		if ctx.Err() != nil {
			return Outcome{}, ctx.Err()
		}
		return Outcome{Output: string(out)}, fmt.Errorf("%w: %w\n%s", ErrBuild, err, out)
	}
	return execute(ctx, filepath.Join(root, filepath.FromSlash(t.Package)), binary, t)
}

func execute(ctx context.Context, folder, binary string, t Test) (Outcome, error) {
	parent := ctx
	if t.Limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, t.Limit)
		defer cancel()
	}
	// The test's own alarm is off: it would look like a test that fails by itself.
	test := exec.CommandContext(ctx, binary, append([]string{"-test.v", "-test.timeout=0", "-test.run=" + t.Run}, t.Args...)...)
	test.Dir = folder
	test.WaitDelay = waitDelay
	var out bytes.Buffer
	test.Stdout, test.Stderr = &out, &out
	begun := time.Now()
	err := test.Run()
	outcome := Outcome{Took: time.Since(begun), Output: out.String()}
	var exit *exec.ExitError
	switch {
	case parent.Err() != nil:
		return outcome, parent.Err()
	case ctx.Err() != nil:
		return outcome, fmt.Errorf("%w: %v", ErrHung, t.Limit)
	case !strings.Contains(outcome.Output, "=== RUN"):
		return outcome, fmt.Errorf("%w: -run %s\n%s", ErrNoTests, t.Run, outcome.Output)
	case errors.As(err, &exit) && exit.Exited():
		outcome.Caught = true // it failed, or it panicked
		return outcome, nil
	case err != nil:
		return outcome, fmt.Errorf("run the test: %w", err)
	}
	return outcome, nil
}
