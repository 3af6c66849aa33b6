package main

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// printed is what a command line prints.
func printed(t *testing.T, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	a := &app{stdin: strings.NewReader(""), stdout: &out, stderr: &errs, lookup: func(string) (string, bool) { return "", false }}
	if code := a.main(context.Background(), args); code != 0 {
		t.Fatalf("cloakroom %s: exit code %d: %s", strings.Join(args, " "), code, errs.String())
	}
	return out.String()
}

// completed returns the words that the program says could stand there.
func completed(t *testing.T, words ...string) (found []string) {
	t.Helper()
	for line := range strings.Lines(printed(t, append([]string{"complete", "--"}, words...)...)) {
		word, _, _ := strings.Cut(strings.TrimSpace(line), "\t")
		found = append(found, word)
	}
	return found
}

// theModel is the grammar as the program has it.
func theModel(t *testing.T) *kong.Application {
	t.Helper()
	a := &app{lookup: func(string) (string, bool) { return "", false }}
	var g grammar
	parsed, err := a.parse(context.Background(), &g, []string{"version"})
	if err != nil {
		t.Fatal(err)
	}
	return parsed.Model
}

// pathOf is the words by which a command is called.
func pathOf(command *kong.Node) (path []string) {
	for ; command.Parent != nil; command = command.Parent {
		path = append([]string{command.Name}, path...)
	}
	return path
}

// Every command and every flag can be completed, and no word is offered that the program would not know.
func TestCompletionKnowsAll(t *testing.T) {
	commands := theModel(t).Leaves(true)
	if len(commands) < 20 {
		t.Fatalf("%d commands", len(commands))
	}
	for _, command := range commands {
		path := pathOf(command)
		for i, word := range path {
			if got := completed(t, append(slices.Clone(path[:i]), word[:1])...); !slices.Contains(got, word) {
				t.Errorf("%q after %q: not among %q", word, path[:i], got)
			}
		}
		want := []string{"--help", "--config"}
		for _, flag := range command.Flags {
			want = append(want, "--"+flag.Name)
		}
		got := completed(t, append(slices.Clone(path), "--")...)
		slices.Sort(want)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("flags of %q: %q, not %q", path, got, want)
		}
	}
	if got := completed(t, "hash"); len(got) > 0 {
		t.Errorf("what is hidden is offered: %q", got)
	}
}

func TestCompletion(t *testing.T) {
	for line, want := range map[string]string{
		"sessions |":                          "list end why",
		"sessions e|":                         "end",
		"--consistency |":                     "lease quorum local",
		"serve --consistency=q|":              "--consistency=quorum",
		"serve --consistency = q|":            "quorum", // as bash has it
		"serve --consistency = |":             "lease quorum local",
		"serve --consistency =|":              "lease quorum local",
		"--consistency local --log-format j|": "json",
		"serve --data-dir |":                  "", // the name of a file, which the shell knows better
		"restore b.backup --ke|":              "--keep-sessions",
		"restore |":                           "",
		"backup -o file --lo|":                "--local",
		"help user a|":                        "", // help takes any words
		"help dra|":                           "drain",
		"completion |":                        "bash zsh fish",
		"completion bash |":                   "",
		"nonsense --da|":                      "--data-dir --data-key-file",
	} {
		words := strings.Split(strings.TrimSuffix(line, "|"), " ")
		if got := strings.Join(completed(t, words...), " "); got != want {
			t.Errorf("%s: %q, not %q", line, got, want)
		}
	}
}

var update = flag.Bool("update", false, "write docs/commands.md anew")

// The page of the commands in docs is what the program says of itself. If this fails: go test ./node -run Manual -update
func TestManual(t *testing.T) {
	path := filepath.Join("..", "docs", "commands.md")
	page := printed(t, "manual", "--format", "markdown")
	if *update {
		if err := os.WriteFile(path, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	there, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(there) != page {
		t.Errorf("%s is not what the program says of itself: go test ./node -run Manual -update", path)
	}
	man := printed(t, "manual")
	for _, command := range theModel(t).Leaves(true) {
		usage := escaped(command.FullPath())
		if !strings.Contains(man, "\n.SS "+usage) {
			t.Errorf("%s is not in the manual", usage)
		}
	}
}
