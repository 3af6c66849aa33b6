package support

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
)

// Ring keeps the last lines of a log in memory, MaxLog bytes of them.
type Ring struct {
	mu      sync.Mutex
	lines   [][]byte
	size    int
	dropped uint64 // lines that have made way
}

var _ io.Writer = (*Ring)(nil)

// Write keeps one line; slog writes each with one call.
func (r *Ring) Write(line []byte) (int, error) {
	const cut = " [cut]\n"
	kept := bytes.Clone(line) // the caller writes the next one into the same bytes
	if len(line) > MaxLine {
		kept = append(bytes.Clone(line[:MaxLine-len(cut)]), cut...)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, kept)
	r.size += len(kept)
	for r.size > MaxLog {
		r.size -= len(r.lines[0])
		r.lines[0] = nil
		r.lines = r.lines[1:]
		r.dropped++
	}
	return len(line), nil
}

// Part is the log of a bundle.
func (r *Ring) Part() Part {
	return Part{Name: "log.txt", Holds: "the last lines of the log", Take: func(_ context.Context, w io.Writer) error {
		r.mu.Lock()
		lines, dropped := append([][]byte(nil), r.lines...), r.dropped
		r.mu.Unlock()
		if dropped > 0 {
			if _, err := fmt.Fprintf(w, "(%d lines before these are not kept)\n", dropped); err != nil {
				return err
			}
		}
		for _, line := range lines {
			if _, err := w.Write(line); err != nil {
				return err
			}
		}
		return nil
	}}
}

// Handler returns what brings a log into the ring, beside where else it goes. It takes what that takes, but no debug lines:
// those are about single connections, and may repeat what a client sent. Users and sessions are not named: a bundle is handed
// on to people who have no business with them.
func (r *Ring) Handler(level slog.Leveler) slog.Handler {
	return slog.NewTextHandler(r, &slog.HandlerOptions{Level: fromInfo{level}, ReplaceAttr: unnamed})
}

// fromInfo is a level that never goes below info.
type fromInfo struct{ slog.Leveler }

func (f fromInfo) Level() slog.Level { return max(f.Leveler.Level(), slog.LevelInfo) }

// unnamed hides who it was.
func unnamed(_ []string, a slog.Attr) slog.Attr {
	switch a.Key {
	case "user", "example", "handle", "by":
		if a.Value.Kind() == slog.KindString { // else it is a time by which a clock was set
			return slog.String(a.Key, "<hidden>")
		}
	}
	return a
}
