package consensus

import (
	"sort"
	"sync"

	"github.com/hashicorp/raft"

	"cloakroom/cluster/storage"
)

const meterSteps = 256 // marks from one snapshot to the next: the meter is that exact

// meter knows how many bytes of log lie behind the last snapshot, and which index lies so many bytes back. It keeps
// marks, not the size of every entry.
type meter struct {
	step, trailing int64

	mu    sync.Mutex
	total int64  // bytes up to the last entry
	base  int64  // total at the last snapshot
	last  uint64 // index of the last entry
	taken uint64 // index of the last snapshot
	marks []mark // ascending
}

// mark says what the total was when the entry of that index had been stored.
type mark struct {
	index uint64
	total int64
}

func newMeter(step, trailing int64) *meter { return &meter{step: step, trailing: trailing} }

// add counts entries at the end of the log.
func (m *meter) add(logs []*raft.Log) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range logs {
		m.total += storage.EntrySize(l)
		m.last = l.Index
		if len(m.marks) == 0 || m.total-m.marks[len(m.marks)-1].total >= m.step {
			m.marks = append(m.marks, mark{m.last, m.total})
		}
	}
}

// truncate forgets the entries from an index on.
func (m *meter) truncate(from uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if from == 0 || from > m.last {
		return
	}
	m.total = m.atLocked(from - 1)
	m.last = from - 1
	m.marks = m.marks[:m.afterLocked(from-1)]
	m.base = min(m.base, m.total)
}

// covered is told of a new snapshot. An older one than the last changes nothing.
func (m *meter) covered(index uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if index < m.taken {
		return
	}
	m.taken = index
	m.base = m.atLocked(index)
	// Marks that no later question can be about.
	drop := 0
	for drop < len(m.marks) && m.marks[drop].index <= index && m.marks[drop].total < m.total-2*m.trailing {
		drop++
	}
	m.marks = append([]mark(nil), m.marks[drop:]...)
}

// since returns the bytes of log beyond the last snapshot.
func (m *meter) since() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.total - m.base
}

// entries returns how many entries lie beyond the last snapshot.
func (m *meter) entries() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.last - min(m.last, m.taken)
}

// snapshotIndex returns the index of the last snapshot.
func (m *meter) snapshotIndex() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.taken
}

// keep returns how many of the last entries fit into the trailing bytes.
func (m *meter) keep() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := sort.Search(len(m.marks), func(i int) bool { return m.marks[i].total >= m.total-m.trailing })
	if i == len(m.marks) {
		return 0
	}
	if i == 0 {
		return m.last // all that is known fits
	}
	return m.last - m.marks[i].index
}

// atLocked returns the total at an index, as far as the marks tell.
func (m *meter) atLocked(index uint64) int64 {
	if index >= m.last {
		return m.total
	}
	i := m.afterLocked(index)
	if i == 0 {
		return 0
	}
	return m.marks[i-1].total
}

// afterLocked returns the place of the first mark beyond an index.
func (m *meter) afterLocked(index uint64) int {
	return sort.Search(len(m.marks), func(i int) bool { return m.marks[i].index > index })
}
