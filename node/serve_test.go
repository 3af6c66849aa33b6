package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// stuck is a node whose requests never end by themselves. Its disk hangs until it is released, if there is anything to
// release, and closing done fails it.
type stuck struct {
	done, disk chan struct{}
}

var errStalled = errors.New("the disk takes too long")

func (s stuck) Drain(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func (s stuck) Done() <-chan struct{} { return s.done }

func (s stuck) Err() error { return errStalled }

func (s stuck) Close() error {
	if s.disk != nil {
		<-s.disk
	}
	return nil
}

// late is a node that fails just as it is drained: whoever waits for both sees that it is drained.
type late struct {
	stuck
	drained bool
}

func (*late) Drain(context.Context) error { return nil }

func (l *late) Done() <-chan struct{} {
	done := make(chan struct{})
	if l.drained {
		close(done)
	}
	l.drained = true
	return done
}

func TestSecondSignalExitsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		exited := -1
		a := &app{exit: func(code int) { exited = code }}
		signals := make(chan os.Signal, 1)
		stopped := make(chan error, 1)
		go func() { stopped <- a.drain(stuck{}, slog.New(slog.DiscardHandler), signals) }()
		synctest.Wait()
		select {
		case err := <-stopped:
			t.Fatal(err, "did not wait for the requests under way")
		default:
		}
		signals <- syscall.SIGTERM
		synctest.Wait()
		if exited >= 0 {
			t.Fatal("a runner's echo of the first signal ended the process")
		}
		time.Sleep(SecondSignal)
		signals <- syscall.SIGTERM
		if err := <-stopped; err != nil || exited != exitFailed {
			t.Errorf("exit %d, error %v", exited, err)
		}
	})
}

// TestSignalBeforeOpen: a node that still waits for a file, or for a disk, stops at once when it is told to.
func TestSignalBeforeOpen(t *testing.T) {
	t.Parallel()
	s := newSuiteOf(t, 1)
	n := s.nodes[0]
	pipe := filepath.Join(s.dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	s.start(n, "--cluster-key-file", pipe)
	var writer *os.File
	s.until("the node reads its key", func() (opened bool) {
		var err error
		writer, err = os.OpenFile(pipe, os.O_WRONLY|syscall.O_NONBLOCK, 0)
		return err == nil
	})
	s.stop(n)
	_ = writer.Close()
}

// TestSignalWhileOpening: one is kept for the stop in good order that follows, and another one later ends it.
func TestSignalWhileOpening(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, more := range []time.Duration{0, SecondSignal - 1, SecondSignal} {
			signals, opened, result := make(chan os.Signal, 2), make(chan struct{}), make(chan error, 1)
			go func() { result <- unlessCutShort(signals, func() error { <-opened; return nil }) }()
			signals <- syscall.SIGTERM
			synctest.Wait()
			time.Sleep(more)
			if more > 0 {
				signals <- os.Interrupt
			}
			synctest.Wait()
			if more == SecondSignal {
				if err := <-result; !errors.Is(err, errCutShort) {
					t.Errorf("after the second: %v", err)
				}
				close(opened)
				continue
			}
			select {
			case err := <-result:
				t.Errorf("it did not wait: %v", err)
			default:
			}
			close(opened)
			if err := <-result; err != nil || len(signals) != 1 || <-signals != syscall.SIGTERM {
				t.Errorf("%v after the first: %v", more, err)
			}
		}
	})
}

func TestDrainIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &app{exit: func(code int) { t.Errorf("exit %d", code) }}
		if err := a.drain(stuck{}, slog.New(slog.DiscardHandler), nil); err != nil {
			t.Errorf("a stop that took too long: %v", err)
		}
	})
}

// TestFailureDuringDrain: a stop in which the node fails is no clean stop, and waits for nothing more.
func TestFailureDuringDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &app{exit: func(code int) { t.Errorf("exit %d", code) }}
		node := stuck{done: make(chan struct{})}
		time.AfterFunc(DrainTimeout/2, func() { close(node.done) })
		begun := time.Now()
		if err := a.drain(node, slog.New(slog.DiscardHandler), nil); !errors.Is(err, errStalled) {
			t.Errorf("a failure during the stop: %v", err)
		}
		if took := time.Since(begun); took != DrainTimeout/2 {
			t.Errorf("took %v", took)
		}

		if err := a.drain(&late{}, slog.New(slog.DiscardHandler), nil); !errors.Is(err, errStalled) {
			t.Errorf("a failure as the stop ended: %v", err)
		}
	})
}

func TestFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := slog.New(slog.DiscardHandler)
		a := &app{exit: func(code int) { t.Errorf("exit %d", code) }}
		if err := a.finish(stuck{}, log, nil); err != nil {
			t.Errorf("a clean stop: %v", err)
		}
		if err := a.finish(stuck{}, log, errStalled); !errors.Is(err, errStalled) {
			t.Errorf("the reason is lost: %v", err)
		}
		node := stuck{done: make(chan struct{}), disk: make(chan struct{})}
		time.AfterFunc(CloseTimeout-1, func() {
			close(node.done)
			close(node.disk)
		})
		if err := a.finish(node, log, nil); !errors.Is(err, errStalled) {
			t.Errorf("a failure while the node was closed: %v", err)
		}
	})
}

// TestCloseIsBounded: a node whose disk hangs does not keep its process.
func TestCloseIsBounded(t *testing.T) {
	for name, reason := range map[string]error{"failed": errStalled, "drained": nil} {
		synctest.Test(t, func(t *testing.T) {
			exited := -1
			var out strings.Builder
			a := &app{exit: func(code int) { exited = code }}
			node := stuck{disk: make(chan struct{})}
			defer close(node.disk)
			begun := time.Now()
			err := a.finish(node, slog.New(slog.NewTextHandler(&out, nil)), reason)
			if took := time.Since(begun); took != CloseTimeout || exited != exitFailed || err == nil {
				t.Errorf("%s: exit %d after %v, %v", name, exited, took, err)
			}
			if text := out.String(); !strings.Contains(text, "level=ERROR") || reason != nil && !strings.Contains(text, reason.Error()) {
				t.Errorf("%s: logged %q", name, text)
			}
		})
	}
}

func TestGreeting(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Name = "n1"
	for name, tt := range map[string]struct {
		greeting greeting
		want     []string
		not      []string
	}{
		"made now": {
			greeting{made: "MADENOW234", users: true},
			[]string{`{"username":"admin","password":"MADENOW234"}`, "password MADENOW234. It is shown this once"},
			[]string{"CLOAKROOM_ADMIN_PASSWORD", "no user"},
		},
		"by variable": {
			greeting{given: adminPassword{secret: "given-secret", variable: "CLOAKROOM_ADMIN_PASSWORD"}, users: true},
			[]string{`"password":"'"$CLOAKROOM_ADMIN_PASSWORD"'"`},
			[]string{"given-secret", "user passwd"},
		},
		"elsewhere": {
			greeting{users: true},
			[]string{`"password":"'"$CLOAKROOM_ADMIN_PASSWORD"'"`, "cloakroom user passwd admin --data-dir ./cloakroom-data sets another"},
			[]string{"no user"},
		},
		"by file": {
			greeting{given: adminPassword{secret: "given-secret", file: "it's here"}, users: true},
			[]string{`"password":"'"$(cat 'it'\''s here')"'"`},
			[]string{"given-secret"},
		},
		"nobody": {greeting{}, []string{"cloakroom user add admin --role admin --data-dir ./cloakroom-data"}, nil},
	} {
		g := tt.greeting
		g.cfg, g.api, g.operator = &cfg, "[::]:8080", "127.0.0.1:8081"
		text := g.text()
		for _, want := range append(tt.want, "n1 is ready", "http://127.0.0.1:8080/api/session") {
			if !strings.Contains(text, want) {
				t.Errorf("%s: %q is missing in\n%s", name, want, text)
			}
		}
		for _, not := range tt.not {
			if strings.Contains(text, not) {
				t.Errorf("%s: %q should not be in\n%s", name, not, text)
			}
		}
		if curls := strings.Count(text, "\n  curl "); curls != 3 {
			t.Errorf("%s: %d curl lines", name, curls)
		}
	}
}

func TestPasswordInput(t *testing.T) {
	a := &app{stdin: strings.NewReader("first\r\nsecond\n\n" + strings.Repeat("x", 2000)), stderr: t.Output()}
	for _, want := range []string{"first", "second"} {
		if got, err := a.input().password("Password", true); err != nil || got != want {
			t.Errorf("got %q, %v; want %q", got, err, want)
		}
	}
	if _, err := a.input().password("Password", false); !errors.Is(err, errNoPassword) {
		t.Errorf("an empty line: %v", err)
	}
	if _, err := a.input().password("Password", false); err == nil || !strings.Contains(err.Error(), "at most") {
		t.Errorf("a line without end: %v", err)
	}
	a = &app{stdin: strings.NewReader(""), stderr: t.Output()}
	if _, err := a.input().password("Password", false); !errors.Is(err, errNoPassword) {
		t.Errorf("no input: %v", err)
	}
}

func TestTable(t *testing.T) {
	var b strings.Builder
	if err := printTable(&b, []string{"A", "LONG"}, [][]string{{"x\x1b[2J", ""}, {"longer", "y"}}); err != nil {
		t.Fatal(err)
	}
	if want := "A       LONG\nx?[2J   -\nlonger  y\n"; b.String() != want {
		t.Errorf("got\n%s want\n%s", b.String(), want)
	}
}

// TestWaitingNodeSaysWhatFor: a node that is to begin a cluster with others says that it has not seen them.
func TestWaitingNodeSaysWhatFor(t *testing.T) {
	t.Parallel()
	s := newSuite(t, cheapHashes...)
	n := s.nodes[0]
	s.start(n)
	s.until("word of what it waits for", func() bool {
		log, err := os.ReadFile(n.log)
		return err == nil && strings.Contains(string(log), `msg="not ready yet"`) && strings.Contains(string(log), "nodes_seen=1 bootstrap_expect=3")
	})
}
