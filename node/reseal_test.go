package main

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cloakroom/cluster"
)

// TestResealComplainsSeldom: a realm whose secret can't be opened stays as it is until somebody mends it, and the log says so
// once a minute, not at each look. Another reason is news.
func TestResealComplainsSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		unopened := errors.New("it can't be opened")
		looks := 0
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute+resealInterval/2)
		defer cancel()
		resealOnAndOn(ctx, slog.New(slog.NewTextHandler(&out, nil)), func() error {
			looks++
			switch time.Duration(looks) * resealInterval {
			case 3*time.Minute + 30*time.Second:
				return cluster.ErrNoLeader
			case 4*time.Minute + 45*time.Second:
				return nil
			}
			return unopened
		})
		if want := int(5 * time.Minute / resealInterval); looks != want {
			t.Errorf("%d looks, not %d", looks, want)
		}
		// At once and after each of three minutes; the reason for a moment, and the first one again; a minute later; and when
		// all had been well in between.
		want := map[string]int{unopened.Error(): 4 + 1 + 1 + 1, cluster.ErrNoLeader.Error(): 1}
		for reason, lines := range want {
			if got := strings.Count(out.String(), reason); got != lines {
				t.Errorf("%d lines, not %d, say: %s\n%s", got, lines, reason, out.String())
			}
		}
	})
}
