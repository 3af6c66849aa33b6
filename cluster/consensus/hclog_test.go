package consensus

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"cloakroom/cluster/clustertest"
)

// In fake time: what is held back is so for seconds only.
func TestLogAdapter(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		out := &logBuffer{}
		a := newLogAdapter(out.logger())
		sub := a.With("id", "x").Named("part")
		for range 5 {
			sub.Error("failed to heartbeat to", "peer", "p1", "error", errors.New("boom"))
			sub.Error("failed to heartbeat to", "peer", "p2", "error", errors.New("boom"))
			sub.Info("entering follower state")
		}
		a.Warn("failed to get previous log", "previous-index", uint64(7))
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(lines) != 2+5+1 {
			t.Errorf("%d lines:\n%s", len(lines), out)
		}
		if !strings.Contains(lines[0], "level=ERROR") || !strings.Contains(lines[0], "id=x") || !strings.Contains(lines[0], "error=boom") {
			t.Error(lines[0])
		}
		if !strings.Contains(lines[len(lines)-1], "level=DEBUG") {
			t.Error(lines[len(lines)-1])
		}
		now := time.Now()
		if _, write := a.shared.admit("failed to heartbeat to\x00p1", now.Add(logInterval/2)); write {
			t.Error("repeated too soon")
		}
		if held, write := a.shared.admit("failed to heartbeat to\x00p1", now.Add(2*logInterval)); !write || held != 5 {
			t.Errorf("after the interval: %v, %d held back", write, held)
		}
		for i := range 10 * maxLogKeys {
			a.shared.admit(fmt.Sprint(i), now)
		}
		if len(a.shared.seen) > maxLogKeys {
			t.Errorf("remembers %d messages", len(a.shared.seen))
		}
		a.mute()
		a.Error("after the end")
		if !strings.Contains(out.String(), "level=DEBUG msg=\"after the end\"") {
			t.Error(out)
		}
	})
}
