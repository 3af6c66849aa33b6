package simulation

import "time"

// micros is virtual time since the start of a history, in microseconds.
type micros int64

const millisecond micros = 1000

// occurrence is something that is going to happen.
type occurrence struct {
	at   micros
	node *node  // where; nil: in the world
	life uint32 // only in this life of the node; 0: in any
	do   func()
}

// timeline is a heap of what is going to happen, the next first. The heap holds no pointers: it is turned over much.
type timeline struct {
	heap  []slot
	kept  []occurrence // by slot
	free  []int32      // places in kept
	order uint64
}

// slot stands in the heap for an occurrence.
type slot struct {
	at    micros
	order uint64 // of scheduling: decides between equal times
	place int32
}

func (s *slot) before(o *slot) bool { return s.at < o.at || s.at == o.at && s.order < o.order }

func (t *timeline) add(o occurrence) {
	t.order++
	h := append(t.heap, slot{o.at, t.order, t.keep(o)})
	i := len(h) - 1
	for i > 0 {
		parent := (i - 1) / 2
		if !h[i].before(&h[parent]) {
			break
		}
		h[i], h[parent] = h[parent], h[i]
		i = parent
	}
	t.heap = h
}

func (t *timeline) keep(o occurrence) int32 {
	if last := len(t.free) - 1; last >= 0 {
		place := t.free[last]
		t.free = t.free[:last]
		t.kept[place] = o
		return place
	}
	t.kept = append(t.kept, o)
	return int32(len(t.kept) - 1)
}

func (t *timeline) next() (occurrence, bool) {
	if len(t.heap) == 0 {
		return occurrence{}, false
	}
	h := t.heap
	place := h[0].place
	last := len(h) - 1
	h[0] = h[last]
	h = h[:last]
	for i := 0; ; {
		child := 2*i + 1
		if child >= last {
			break
		}
		if right := child + 1; right < last && h[right].before(&h[child]) {
			child = right
		}
		if !h[child].before(&h[i]) {
			break
		}
		h[i], h[child] = h[child], h[i]
		i = child
	}
	t.heap = h
	t.free = append(t.free, place)
	return t.kept[place], true
}

// real returns a time of the history as one of the machines'.
func (m micros) real() time.Duration { return time.Duration(m) * time.Microsecond }
