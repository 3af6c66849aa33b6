package gossip

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// logWriter turns the lines of memberlist's log.Logger into slog records. What memberlist calls an error is a lost
// peer or a refused packet: degraded, at most, so it becomes a warning. Lines at Info and above are throttled,
// because anyone who can send packets can cause them.
type logWriter struct {
	logger *slog.Logger
	closed atomic.Bool // memberlist's goroutines outlive its shutdown by moments; the logger may not

	mu      sync.Mutex
	start   time.Time // of the window
	lines   int
	dropped int
}

// Write takes one line, as log.Logger promises.
func (w *logWriter) Write(line []byte) (int, error) {
	level, text := splitLevel(string(line))
	ctx := context.Background()
	if w.closed.Load() || !w.logger.Enabled(ctx, level) {
		return len(line), nil
	}
	pass, dropped := true, 0
	if level >= slog.LevelInfo {
		pass, dropped = w.admit(time.Now())
	}
	if dropped > 0 {
		w.logger.Warn("dropped lines of memberlist", "lines", dropped)
	}
	if pass {
		w.logger.Log(ctx, level, text)
	}
	return len(line), nil
}

// admit says whether a line may pass, and how many were dropped in the window that has just ended.
func (w *logWriter) admit(now time.Time) (pass bool, dropped int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if now.Sub(w.start) >= logWindow {
		dropped = w.dropped
		w.start, w.lines, w.dropped = now, 0, 0
	}
	if w.lines >= logLines {
		w.dropped++
		return false, dropped
	}
	w.lines++
	return true, dropped
}

// splitLevel reads "[WARN] memberlist: text".
func splitLevel(line string) (slog.Level, string) {
	level := slog.LevelInfo
	line = strings.TrimSpace(line)
	for prefix, l := range map[string]slog.Level{
		"[DEBUG]": slog.LevelDebug,
		"[INFO]":  slog.LevelInfo,
		"[WARN]":  slog.LevelWarn,
		"[ERR]":   slog.LevelWarn,
		"[ERROR]": slog.LevelWarn,
	} {
		if rest, ok := strings.CutPrefix(line, prefix); ok {
			level, line = l, rest
			break
		}
	}
	line = strings.TrimPrefix(strings.TrimSpace(line), "memberlist: ")
	if len(line) > maxLogLine {
		line = line[:maxLogLine] + "…"
	}
	return level, line
}
