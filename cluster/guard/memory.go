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
	Probe  func() int64 // bytes of the heap in use, for tests; nil: the runtime's numbers
	Slabs  func() int64 // bytes in use that the collector does not know of; nil: none
}

// MemoryStats is what a Memory knows, in bytes.
type MemoryStats struct {
	Used  int64 // as of the last collection
	Limit int64 // 0: none. A derived one falls as the heap grows, and not with what the collector does not know of
	Full  bool
}

// Memory watches the bytes that the collector can't free.
type Memory struct {
	budget budget
	probe  func() memoryUse
	logger *slog.Logger
	watch  *watch

	full  atomic.Bool
	used  atomic.Int64
	limit atomic.Int64
}

// OpenMemory takes a first reading and goes on taking them.
func OpenMemory(cfg MemoryConfig) *Memory {
	m := &Memory{budget: budget{bytes: cfg.Limit}, probe: cfg.probe(), logger: cfg.Logger, watch: newWatch()}
	if cfg.Limit == 0 {
		m.budget = m.derived()
	}
	if m.budget.bytes < 0 {
		m.budget = budget{bytes: math.MaxInt64}
	}
	m.look()
	m.watch.start(m.look)
	return m
}

// probe returns what takes a reading.
func (cfg MemoryConfig) probe() func() memoryUse {
	read := newUsage().read
	if cfg.Probe != nil {
		read = func() memoryUse { return memoryUse{heap: cfg.Probe()} }
	}
	if cfg.Slabs == nil {
		return read
	}
	return func() memoryUse {
		use := read()
		use.other += cfg.Slabs()
		return use
	}
}

// Close stops and waits.
func (m *Memory) Close() { m.watch.close() }

// Full reports whether the limit is reached. It takes no lock.
func (m *Memory) Full() bool { return m.full.Load() }

// Stats returns the latest reading.
func (m *Memory) Stats() MemoryStats {
	limit := m.limit.Load()
	if limit == math.MaxInt64 {
		limit = 0
	}
	return MemoryStats{Used: m.used.Load(), Limit: limit, Full: m.full.Load()}
}

// derived is the budget where no limit was given; below 0 where nothing is known that it could be derived from.
func (m *Memory) derived() budget {
	available, err := availableMemory()
	gc := collectorSettings()
	b := defaultBudget(available, gc)
	if b.bytes < 0 {
		m.logger.Warn("how much memory there is, is not known: set a memory limit", "error", err)
		return b
	}
	m.logger.Info("memory limit derived", "budget_bytes", b.bytes, "available_bytes", available, "gomemlimit_bytes", gc.limit, "gogc", gc.percent)
	return b
}

func (m *Memory) look() {
	use := m.probe()
	used, limit := use.all(), m.budget.limit(use.heap)
	m.used.Store(used)
	m.limit.Store(limit)
	switch full := m.Full(); {
	case !full && used >= limit:
		m.full.Store(true)
		m.logger.Warn("the memory limit is reached: new sessions are refused until some have ended", "used_bytes", used, "limit_bytes", limit)
	case full && used < limit-limit/releaseMemory:
		m.full.Store(false)
		m.logger.Info("memory is below its limit again", "used_bytes", used, "limit_bytes", limit)
	}
}
