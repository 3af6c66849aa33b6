package guard

import (
	"context"
	"log/slog"
	"sync"
	"testing"
)

// diary is a logger's handler that keeps what was said.
type diary struct {
	mu      sync.Mutex
	records []record
}

type record struct {
	level   slog.Level
	message string
	numbers map[string]int64
}

var _ slog.Handler = (*diary)(nil)

func (*diary) Enabled(context.Context, slog.Level) bool { return true }
func (d *diary) WithAttrs([]slog.Attr) slog.Handler     { return d }
func (d *diary) WithGroup(string) slog.Handler          { return d }

func (d *diary) Handle(_ context.Context, r slog.Record) error {
	entry := record{level: r.Level, message: r.Message, numbers: map[string]int64{}}
	r.Attrs(func(a slog.Attr) bool {
		if a.Value.Kind() == slog.KindInt64 {
			entry.numbers[a.Key] = a.Value.Int64()
		}
		return true
	})
	d.mu.Lock()
	defer d.mu.Unlock()
	d.records = append(d.records, entry)
	return nil
}

// take returns what was said since the last call.
func (d *diary) take() []record {
	d.mu.Lock()
	defer d.mu.Unlock()
	taken := d.records
	d.records = nil
	return taken
}

// expect wants exactly one line of the level with the numbers, or none at all.
func (d *diary) expect(t *testing.T, when string, level slog.Level, numbers map[string]int64) {
	t.Helper()
	got := d.take()
	if numbers == nil {
		if len(got) != 0 {
			t.Errorf("%s: said %+v, want silence", when, got)
		}
		return
	}
	if len(got) != 1 || got[0].level != level {
		t.Errorf("%s: said %+v, want one line of level %s", when, got, level)
		return
	}
	for key, want := range numbers {
		if n, ok := got[0].numbers[key]; !ok || n != want {
			t.Errorf("%s: %s is %d, want %d", when, key, n, want)
		}
	}
}
