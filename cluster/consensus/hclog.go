package consensus

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
)

// logAdapter writes what the library logs to a slog.Logger. Equal warnings and errors are written once in
// logInterval: the library repeats them for each heartbeat that fails.
type logAdapter struct {
	logger *slog.Logger
	name   string
	args   []any
	shared *logState
}

// logState is common to an adapter and all that were derived from it.
type logState struct {
	muted atomic.Bool

	mu   sync.Mutex
	seen map[string]time.Time
	held map[string]int // repetitions not written
}

var _ hclog.Logger = (*logAdapter)(nil)

func newLogAdapter(logger *slog.Logger) *logAdapter {
	return &logAdapter{logger: logger, shared: &logState{seen: map[string]time.Time{}, held: map[string]int{}}}
}

// mute lowers everything to debug: a node that ends breaks its own connections, and the library calls that errors.
func (a *logAdapter) mute() { a.shared.muted.Store(true) }

// expected are warnings of the library that the nudge causes when it overtakes replication.
func expected(msg string) bool { return msg == "failed to get previous log" }

// Log writes one record.
func (a *logAdapter) Log(level hclog.Level, msg string, args ...any) {
	l := slogLevel(level)
	if expected(msg) || a.shared.muted.Load() {
		l = min(l, slog.LevelDebug)
	}
	if !a.logger.Enabled(context.Background(), l) {
		return
	}
	attrs := append(append([]any(nil), a.args...), formatted(args)...)
	if l >= slog.LevelWarn {
		held, write := a.shared.admit(msg+"\x00"+about(args), time.Now())
		if !write {
			return
		}
		if held > 0 {
			attrs = append(attrs, "repeated", held)
		}
	}
	a.logger.Log(context.Background(), l, msg, attrs...)
}

// admit says whether a message may be written, and how many like it were not.
func (s *logState) admit(key string, now time.Time) (held int, write bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if last, ok := s.seen[key]; ok && now.Sub(last) < logInterval {
		s.held[key]++
		return 0, false
	}
	if len(s.seen) >= maxLogKeys {
		clear(s.seen)
		clear(s.held)
	}
	held = s.held[key]
	delete(s.held, key)
	s.seen[key] = now
	return held, true
}

// about returns the member that a message is about, so that two members' troubles are two messages.
func about(args []any) string {
	for i := 0; i+1 < len(args); i += 2 {
		switch args[i] {
		case "peer", "server-id", "target", "from":
			return fmt.Sprint(args[i+1])
		}
	}
	return ""
}

// formatted resolves hclog's own kinds of values.
func formatted(args []any) []any {
	out := make([]any, len(args))
	for i, arg := range args {
		switch v := arg.(type) {
		case hclog.Format:
			out[i] = fmt.Sprintf(v[0].(string), v[1:]...)
		case time.Duration, error, string, int, int64, uint64, bool:
			out[i] = v
		default:
			out[i] = fmt.Sprint(v)
		}
	}
	return out
}

func slogLevel(level hclog.Level) slog.Level {
	switch level {
	case hclog.Trace:
		return slog.LevelDebug - 4
	case hclog.Debug:
		return slog.LevelDebug
	case hclog.Warn:
		return slog.LevelWarn
	case hclog.Error:
		return slog.LevelError
	}
	return slog.LevelInfo
}

func (a *logAdapter) enabled(level hclog.Level) bool {
	return a.logger.Enabled(context.Background(), slogLevel(level))
}

// Trace and the others write a record of their level.
func (a *logAdapter) Trace(msg string, args ...any) { a.Log(hclog.Trace, msg, args...) }

// Debug writes a record.
func (a *logAdapter) Debug(msg string, args ...any) { a.Log(hclog.Debug, msg, args...) }

// Info writes a record.
func (a *logAdapter) Info(msg string, args ...any) { a.Log(hclog.Info, msg, args...) }

// Warn writes a record.
func (a *logAdapter) Warn(msg string, args ...any) { a.Log(hclog.Warn, msg, args...) }

// Error writes a record.
func (a *logAdapter) Error(msg string, args ...any) { a.Log(hclog.Error, msg, args...) }

// IsTrace and the others say whether a level is written.
func (a *logAdapter) IsTrace() bool { return a.enabled(hclog.Trace) }

// IsDebug reports whether the level is written.
func (a *logAdapter) IsDebug() bool { return a.enabled(hclog.Debug) }

// IsInfo reports whether the level is written.
func (a *logAdapter) IsInfo() bool { return a.enabled(hclog.Info) }

// IsWarn reports whether the level is written.
func (a *logAdapter) IsWarn() bool { return a.enabled(hclog.Warn) }

// IsError reports whether the level is written.
func (a *logAdapter) IsError() bool { return a.enabled(hclog.Error) }

// ImpliedArgs returns what With has added.
func (a *logAdapter) ImpliedArgs() []any { return a.args }

// With returns an adapter that adds the arguments to each record.
func (a *logAdapter) With(args ...any) hclog.Logger {
	derived := *a
	derived.args = append(append([]any(nil), a.args...), formatted(args)...)
	return &derived
}

// Name returns the adapter's name, which is not written.
func (a *logAdapter) Name() string { return a.name }

// Named returns an adapter with a longer name.
func (a *logAdapter) Named(name string) hclog.Logger {
	if a.name != "" {
		name = a.name + "." + name
	}
	return a.ResetNamed(name)
}

// ResetNamed returns an adapter with another name.
func (a *logAdapter) ResetNamed(name string) hclog.Logger {
	derived := *a
	derived.name = name
	return &derived
}

// SetLevel does nothing: the level is the slog.Logger's.
func (a *logAdapter) SetLevel(hclog.Level) {}

// GetLevel returns the lowest level that is written.
func (a *logAdapter) GetLevel() hclog.Level {
	for _, level := range []hclog.Level{hclog.Trace, hclog.Debug, hclog.Info, hclog.Warn, hclog.Error} {
		if a.enabled(level) {
			return level
		}
	}
	return hclog.Off
}

// StandardLogger returns a logger of the standard library that writes records of level info.
func (a *logAdapter) StandardLogger(*hclog.StandardLoggerOptions) *log.Logger {
	return slog.NewLogLogger(a.logger.Handler(), slog.LevelInfo)
}

// StandardWriter returns the writer of StandardLogger.
func (a *logAdapter) StandardWriter(options *hclog.StandardLoggerOptions) io.Writer {
	return a.StandardLogger(options).Writer()
}
