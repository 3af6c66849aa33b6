package guard

import (
	"log/slog"
	"math"
	"sync/atomic"
)

// MemoryConfig is what a Memory needs.
type MemoryConfig struct {
	Limit  int64 // bytes in use from which on it is full; 0: derived from what there is; below 0: none
	Logger *slog.Logger
	Probe  func() int64 // bytes in use, for tests; nil: the runtime's numbers
}

// MemoryStats is what a Memory knows, in bytes.
type MemoryStats struct {
	Used  int64 // as of the last collection
	Limit int64 // 0: none
	Full  bool
}

// Memory watches the bytes that the collector can't free.
type Memory struct {
	limit  int64
	probe  func() int64
	logger *slog.Logger
	watch  *watch

	full atomic.Bool
	used atomic.Int64
}

// OpenMemory takes a first reading and goes on taking them.
func OpenMemory(cfg MemoryConfig) *Memory {
	m := &Memory{limit: cfg.Limit, probe: cfg.Probe, logger: cfg.Logger, watch: newWatch()}
	if m.probe == nil {
		m.probe = newUsage().read
	}
	if m.limit == 0 {
		m.limit = m.derived()
	}
	if m.limit < 0 {
		m.limit = math.MaxInt64
	}
	m.look()
	m.watch.start(m.look)
	return m
}

// Close stops and waits.
func (m *Memory) Close() { m.watch.close() }

// Full reports whether the limit is reached. It takes no lock.
func (m *Memory) Full() bool { return m.full.Load() }

// Stats returns the latest reading.
func (m *Memory) Stats() MemoryStats {
	limit := m.limit
	if limit == math.MaxInt64 {
		limit = 0
	}
	return MemoryStats{Used: m.used.Load(), Limit: limit, Full: m.full.Load()}
}

// derived is the limit where none was given; below 0 where nothing is known that it could be derived from.
func (m *Memory) derived() int64 {
	available, err := availableMemory()
	gc := collectorSettings()
	limit := defaultLimit(available, gc)
	if limit < 0 {
		m.logger.Warn("how much memory there is, is not known: set a memory limit", "error", err)
		return limit
	}
	m.logger.Info("memory limit derived", "limit_bytes", limit, "available_bytes", available, "gomemlimit_bytes", gc.limit, "gogc", gc.percent)
	return limit
}

func (m *Memory) look() {
	used := m.probe()
	m.used.Store(used)
	switch full := m.Full(); {
	case !full && used >= m.limit:
		m.full.Store(true)
		m.logger.Warn("the memory limit is reached: new sessions are refused until some have ended", "used_bytes", used, "limit_bytes", m.limit)
	case full && used < m.limit-m.limit/releaseMemory:
		m.full.Store(false)
		m.logger.Info("memory is below its limit again", "used_bytes", used, "limit_bytes", m.limit)
	}
}
