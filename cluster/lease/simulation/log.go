package simulation

import (
	"slices"

	"cloakroom/cluster/lease"
)

// entryKind says which entries the log tells apart. Noops never reach the table.
type entryKind uint8

const (
	noopEntry entryKind = iota
	configEntry
	commandEntry
)

// entry is immutable, so logs of several nodes share what it points to.
type entry struct {
	term   uint64
	kind   entryKind
	config config
	as     lease.CommandKind // of a command entry: ticks and hand-overs come alone
	batch  []*operation      // what clients want
}

// replicatedLog is a node's log. What is up to base lies in a snapshot.
type replicatedLog struct {
	base, baseTerm uint64
	entries        []entry
	configs        []configAt // the latest last; at least one
}

type configAt struct {
	index  uint64
	config config
}

func (l *replicatedLog) last() uint64 { return l.base + uint64(len(l.entries)) }

func (l *replicatedLog) lastTerm() uint64 { term, _ := l.termAt(l.last()); return term }

// termAt reports false for what the log doesn't hold.
func (l *replicatedLog) termAt(index uint64) (uint64, bool) {
	switch {
	case index == l.base:
		return l.baseTerm, true
	case index < l.base || index > l.last():
		return 0, false
	}
	return l.at(index).term, true
}

func (l *replicatedLog) at(index uint64) *entry { return &l.entries[index-l.base-1] }

// after returns a few entries after an index, which the log holds or has as its base.
func (l *replicatedLog) after(index uint64) []entry {
	some := l.entries[index-l.base:]
	return append([]entry(nil), some[:min(len(some), maxAppend)]...)
}

func (l *replicatedLog) append(e entry) uint64 {
	l.entries = append(l.entries, e)
	if e.kind == configEntry {
		l.configs = append(l.configs, configAt{l.last(), e.config})
	}
	return l.last()
}

// truncate drops the entries from an index on.
func (l *replicatedLog) truncate(from uint64) {
	l.entries = append([]entry(nil), l.entries[:from-l.base-1]...)
	for len(l.configs) > 1 && l.configs[len(l.configs)-1].index >= from {
		l.configs = l.configs[:len(l.configs)-1]
	}
}

// compact drops the entries up to an index that a snapshot holds.
func (l *replicatedLog) compact(to uint64) {
	if to <= l.base {
		return
	}
	term, _ := l.termAt(to)
	l.entries = append([]entry(nil), l.entries[to-l.base:]...)
	l.base, l.baseTerm = to, term
}

// replace makes a snapshot all that the log holds.
func (l *replicatedLog) replace(s *snapshot) {
	*l = replicatedLog{base: s.index, baseTerm: s.term, configs: []configAt{s.config}}
}

// config returns the latest configuration, which counts from its writing on.
func (l *replicatedLog) config() config      { return l.configs[len(l.configs)-1].config }
func (l *replicatedLog) configIndex() uint64 { return l.configs[len(l.configs)-1].index }

// configUpTo returns the configuration at an index.
func (l *replicatedLog) configUpTo(index uint64) (configAt, bool) {
	for _, c := range slices.Backward(l.configs) {
		if c.index <= index {
			return c, true
		}
	}
	return configAt{}, false
}
