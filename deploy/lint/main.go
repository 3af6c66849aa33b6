// Command lint checks the files of deploy without a server, an engine or a cluster: that nothing in them is misspelled, that
// what one of them names the others have, and that the program takes the settings in them. It does not know whether
// they are a good idea.
//
// It is a module of its own, so that the product does not depend on the types of Kubernetes and Compose.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// longestStop is what the program takes to stop at most, closing included (node/limits.go).
const longestStop = 25 * time.Second

func main() {
	program := flag.String("program", "", "the program that the files start")
	dir := flag.String("dir", "..", "the directory deploy")
	flag.Parse()
	l := &linter{dir: *dir, program: *program}
	if err := l.run(context.Background(), "kubernetes", "compose", "systemd", "docker"); err != nil {
		fmt.Fprintln(os.Stderr, "lint:", err)
		os.Exit(2)
	}
	for _, c := range l.complaints {
		fmt.Println(c)
	}
	if len(l.complaints) > 0 {
		os.Exit(1)
	}
}

// linter collects what is wrong.
type linter struct {
	dir        string
	program    string
	known      string // what the program says of the flags of serve
	complaints []string
}

func (l *linter) complain(file, format string, args ...any) {
	l.complaints = append(l.complaints, file+": "+fmt.Sprintf(format, args...))
}

// run looks at directories. It returns an error if it can't; what it finds are complaints.
func (l *linter) run(ctx context.Context, dirs ...string) error {
	out, err := exec.CommandContext(ctx, l.program, "help", "serve").Output()
	if err != nil {
		return fmt.Errorf("run the program: %w", err)
	}
	l.known = strings.Join(strings.Fields(string(out)), " ")
	checks := map[string]func(context.Context) error{"kubernetes": l.kubernetes, "compose": l.compose, "systemd": l.systemd, "docker": l.docker}
	for _, dir := range dirs {
		if err := checks[dir](ctx); err != nil {
			return err
		}
	}
	return nil
}

func (l *linter) read(file string) (string, error) {
	text, err := os.ReadFile(filepath.Join(l.dir, file))
	return string(text), err
}

// settings has the program read settings as serve would. Wrong ones end it otherwise; what else it finds, such as that there
// are no keys here, does not matter.
func (l *linter) settings(ctx context.Context, file string, args []string, environment map[string]string) {
	if len(args) == 0 || args[0] != "serve" {
		l.complain(file, "starts %q instead of serve", args)
		return
	}
	cmd := exec.CommandContext(ctx, l.program, append([]string{"doctor"}, args[1:]...)...)
	cmd.Env = []string{"PATH=/nonexistent"}
	for name, value := range environment {
		cmd.Env = append(cmd.Env, name+"="+value)
		if strings.HasPrefix(name, "CLOAKROOM_") && !l.variable(name) {
			l.complain(file, "the program has no variable %s", name)
		}
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == 1 {
		return
	}
	if err != nil {
		l.complain(file, "the program refuses its settings: %s", strings.TrimSpace(stderr.String()))
	}
}

// wrongUse returns what the program ends with when it is asked for what it can't do.
func (l *linter) wrongUse(ctx context.Context) string {
	exit, ok := errors.AsType[*exec.ExitError](exec.CommandContext(ctx, l.program, "no-such-command").Run())
	if !ok {
		return "no code"
	}
	return strconv.Itoa(exit.ExitCode())
}

func (l *linter) variable(name string) bool {
	return strings.Contains(l.known, "["+name+"]") || slices.Contains([]string{"CLOAKROOM_ADMIN_PASSWORD", "CLOAKROOM_ADMIN_PASSWORD_FILE", "CLOAKROOM_CONFIG"}, name)
}

// commands returns what the program says of its commands.
func (l *linter) commands(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, l.program, "help").Output()
	if err != nil {
		return ""
	}
	return strings.Join(strings.Fields(string(out)), " ")
}
