package peer

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"cloakroom/bench/load"
)

// TestMain lets this test binary stand in for the programs that tests start.
func TestMain(m *testing.M) {
	if len(os.Args) < 3 || os.Args[1] != "stand-in" {
		// A busy machine is not to cost etcd its leader: what was under way then would count as failed. It is in milliseconds.
		for name, value := range map[string]string{"ETCD_HEARTBEAT_INTERVAL": "300", "ETCD_ELECTION_TIMEOUT": "3000"} {
			if err := os.Setenv(name, value); err != nil {
				panic(err)
			}
		}
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	switch os.Args[2] {
	case "bare":
		if err := ServeBare(ctx, os.Args[3]); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	case "wait":
		fmt.Println("waiting")
		<-ctx.Done()
	case "hog":
		Hog(ctx)
	case "fail":
		fmt.Println("there is no such flag")
		os.Exit(3)
	}
}

func standIn(args ...string) []string {
	return append([]string{os.Args[0], "stand-in"}, args...)
}

// needs skips the test where a program is missing; in CI nothing may be missing.
func needs(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is not installed", program)
		}
		t.Skipf("%s is not installed", program)
	}
}

// startPeer starts a peer and fills it.
func startPeer(t *testing.T, p Peer, n int) {
	t.Helper()
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Errorf("stop %s: %v", p.Name(), err)
		}
		if left := p.PIDs(); len(left) > 0 {
			t.Errorf("%s left processes behind: %v", p.Name(), left)
		}
	})
	if err := p.Start(t.Context(), t.TempDir()); err != nil {
		t.Fatalf("start %s: %v", p.Name(), err)
	}
	if err := p.Fill(t.Context(), n); err != nil {
		t.Fatalf("fill %s: %v", p.Name(), err)
	}
}

// ask puts a moment's load on a peer; every answer must be good.
func ask(t *testing.T, open load.Open, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	res, err := load.Run(t.Context(), load.Config{Workers: 8, Duration: 50 * time.Millisecond, Open: open})
	if err != nil {
		t.Fatal(err)
	}
	if err := res.Err(); err != nil {
		t.Fatalf("%v: %v", err, res.Failures)
	}
}
