package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// stuck is a node whose requests never end by themselves.
type stuck struct{}

func (stuck) Drain(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
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
		case <-stopped:
			t.Fatal("did not wait for the requests under way")
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

func TestDrainIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &app{exit: func(code int) { t.Errorf("exit %d", code) }}
		if err := a.drain(stuck{}, slog.New(slog.DiscardHandler), nil); err != nil {
			t.Errorf("a stop that took too long: %v", err)
		}
	})
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
			[]string{"given-secret"},
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
