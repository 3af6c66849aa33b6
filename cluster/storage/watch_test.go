package storage

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"cloakroom/cluster/clustertest"
)

// A disk that is slow is told of at once, then once a minute with what there was since, and not at all when it is well.
func TestSlowDiskIsToldOf(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		var log bytes.Buffer
		slow := &LateWrites{Logger: slog.New(slog.NewTextHandler(&log, nil))}
		watch := Watch{Limit: time.Minute, OnFail: func(err error) { t.Error(err) }, OnSlow: slow.Note}
		write := func(takes time.Duration) {
			if err := watch.Must("store log", func() error { time.Sleep(takes); return nil }); err != nil {
				t.Error(err)
			}
		}
		lines := func() []string { return strings.Split(strings.TrimSpace(log.String()), "\n") }
		write(slowWrite - 1)
		if log.Len() > 0 {
			t.Errorf("of a disk that is well: %s", &log)
		}
		write(300 * time.Millisecond)
		if got := lines(); len(got) != 1 || !strings.Contains(got[0], `write="store log" took=300ms slow_writes=1`) {
			t.Errorf("at once: %q", got)
		}
		for range 50 {
			write(time.Second)
		}
		write(2 * time.Second)
		if got := lines(); len(got) != 1 {
			t.Errorf("within a minute: %q", got)
		}
		time.Sleep(slowTold)
		write(300 * time.Millisecond)
		if got := lines(); len(got) != 2 || !strings.Contains(got[1], "took=2s slow_writes=52") {
			t.Errorf("later: %q", got)
		}
	})
}
