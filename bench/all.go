package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// allCmd is what bench does without a command.
type allCmd struct {
	settings     `embed:""`
	clusterFlags `embed:""`
	Target       []string `placeholder:"URL" help:"Measure these running nodes instead of starting some, such as http://10.0.0.1:8080. What can't be done to them, such as killing one, is named and left out."`
	User         string   `default:"admin" placeholder:"NAME" help:"With --target: a user with the role admin or service (${default})."`
	PasswordEnv  string   `default:"CLOAKROOM_PASSWORD" placeholder:"VARIABLE" help:"Environment variable with that user's password (${default})."`
	TLSCA        string   `name:"tls-ca" type:"existingfile" placeholder:"FILE" help:"PEM file of the CAs to trust with https (default: the system's)."`
	Out          string   `default:"bench-report" placeholder:"DIR" help:"Where report.json and report.html go (./${default})."`
}

// clusterFlags say which program is started, and where it keeps its data.
type clusterFlags struct {
	Binary string `type:"existingfile" placeholder:"FILE" help:"The built program (default: go build of this tree)."`
	Dir    string `type:"existingdir" placeholder:"DIR" help:"Where the servers keep their data: a disk, or fsync costs nothing (default: the system's temporary directory)."`
	Keep   bool   `help:"Leave data and logs there afterwards."`
}

// Validate is called by the command line's parser.
func (c *allCmd) Validate() error {
	if len(c.Target) > 0 {
		if err := c.nodes().Validate(); err != nil {
			return err
		}
	}
	return c.settings.Validate()
}

func (c *allCmd) nodes() *nodeFlags {
	return &nodeFlags{Target: c.Target, Sessions: c.Sessions, User: c.User, PasswordEnv: c.PasswordEnv, TLSCA: c.TLSCA}
}

// errScenarios is a run of which a part broke off.
var errScenarios = errors.New("not everything could be measured")

// Run implements the command.
func (c *allCmd) Run(ctx context.Context, a *app) (err error) {
	dir, remove, err := c.workDir()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	f := &field{set: &c.settings, app: a, dir: dir, binary: c.Binary}
	if len(c.Target) > 0 {
		if f.service, err = c.nodes().service(a); err != nil {
			return err
		}
	}
	defer func() { err = errors.Join(err, f.stop()) }() // before the directory goes
	r, err := f.measure(ctx)
	if err != nil {
		return err
	}
	if err := errors.Join(r.print(a.stdout), c.write(a, r)); err != nil {
		return err
	}
	if len(r.Failed) > 0 {
		return fmt.Errorf("%w: %d of the scenarios broke off", errScenarios, len(r.Failed))
	}
	return ctx.Err()
}

// measure starts everyone, measures every scenario that is wanted, and returns what it found out. A scenario that breaks
// off is named, and the others go on: hours of them are not to be lost for one.
func (f *field) measure(ctx context.Context) (*report, error) {
	began := time.Now()
	r := &report{Date: began.UTC().Truncate(time.Second), Settings: *f.set, Notes: []note{}, LeftOut: []note{}, Failed: []note{}, Tables: []*table{}}
	if err := f.start(ctx); err != nil {
		return nil, err
	}
	r.Machine = readMachine(ctx, f.dir, f.binary)
	for _, s := range allScenarios() {
		is := s.about()
		if !f.set.wants(is) || ctx.Err() != nil {
			continue
		}
		switch err := f.runScenario(ctx, s, r); {
		case errors.Is(err, errLeftOut):
			r.LeftOut = append(r.LeftOut, note{is.Name, strings.TrimPrefix(err.Error(), errLeftOut.Error()+": ")})
		case err != nil:
			f.app.progressf("%s: broke off: %v", is.Name, err)
			r.Failed = append(r.Failed, note{is.Name, err.Error()})
		}
	}
	r.Notes, r.LeftOut = append(r.Notes, f.notes()...), append(r.LeftOut, f.skipped...)
	r.Took = took(began)
	r.judgeAll(func(name string) bool {
		for _, s := range allScenarios() {
			if is := s.about(); is.Name == name {
				return f.set.wants(is)
			}
		}
		return false
	})
	return r, nil
}

// write stores the report as JSON, as a page, and its targets as a picture.
func (c *allCmd) write(a *app, r *report) error {
	if err := os.MkdirAll(c.Out, 0o755); err != nil {
		return fmt.Errorf("make a directory for the report: %w", err)
	}
	// Measurements of one machine are nobody else's: they do not belong into a repository unless somebody wants them there.
	if err := os.WriteFile(filepath.Join(c.Out, ".gitignore"), []byte("*\n"), 0o644); err != nil {
		return fmt.Errorf("store the report: %w", err)
	}
	for name, write := range map[string]func(*os.File) error{
		"report.json": func(f *os.File) error { return writeJSON(f, r) },
		"report.html": func(f *os.File) error { return r.page(f) },
		"targets.svg": func(f *os.File) error { return r.picture(f) },
	} {
		path := filepath.Join(c.Out, name)
		file, err := os.Create(path)
		if err != nil {
			return fmt.Errorf("store the report: %w", err)
		}
		if err := errors.Join(write(file), file.Close()); err != nil {
			return fmt.Errorf("store %s: %w", name, err)
		}
		a.progressf("stored %s", path)
	}
	return nil
}

// workDir makes a directory for the servers, and returns what takes it away.
func (f *clusterFlags) workDir() (dir string, remove func() error, err error) {
	dir, err = os.MkdirTemp(f.Dir, "cloakroom-bench-")
	if err != nil {
		return "", nil, fmt.Errorf("make a directory for the servers: %w", err)
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return "", nil, fmt.Errorf("make a directory for the servers: %w", err)
	}
	return dir, func() error {
		if f.Keep {
			return nil
		}
		return os.RemoveAll(dir)
	}, nil
}
