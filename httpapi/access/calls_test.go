package access

import (
	"fmt"
	"testing"
	"time"
)

func TestCallsAreRememberedForAWhile(t *testing.T) {
	var c calls
	at := time.Unix(1000, 0)
	key := callKey{"native", "ann", "192.0.2.1"}
	for i, tt := range []struct {
		after time.Duration
		want  bool
	}{{0, true}, {time.Second, false}, {callAudit - 1, false}, {callAudit, true}, {callAudit + 1, false}} {
		if got := c.first(key, at.Add(tt.after)); got != tt.want {
			t.Errorf("%d: %v", i, got)
		}
	}
	at = at.Add(2 * callAudit)
	for i := range 2 * maxCallers {
		if !c.first(callKey{user: fmt.Sprint(i)}, at) {
			t.Fatalf("caller %d is not audited", i)
		}
	}
	if len(c.until) > maxCallers {
		t.Errorf("%d are remembered", len(c.until))
	}
	c.first(key, at.Add(callAudit))
	if len(c.until) != 1 {
		t.Errorf("%d are remembered for too long", len(c.until))
	}
}
