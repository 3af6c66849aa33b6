package session

import "slices"

// aheadBatches is how many batches of sessions are decoded ahead of who takes them in.
const aheadBatches = 4

// ahead decodes sessions in a goroutine of its own, which ends before stop returns. Until then the reader is its.
type ahead struct {
	in     *snapshotReader
	all    *accounts
	left   uint64
	filled chan *batch
	empty  chan *batch
	taken  *batch // the batch that the caller has
}

// batch is the sessions of one block. A savedSession points into the block, or if it begins in the one before, into split.
type batch struct {
	sessions []savedSession
	split    []byte
	block    []byte // to be freed; nil: it is needed on
	err      error  // what came after them
	last     bool
}

func (rs *restorer) readAhead(n uint64) *ahead {
	a := &ahead{in: rs.in, all: rs.m.all, left: n, filled: make(chan *batch, aheadBatches), empty: make(chan *batch, aheadBatches)}
	for range aheadBatches {
		a.empty <- new(batch)
	}
	go a.run()
	return a
}

func (a *ahead) run() {
	defer close(a.filled)
	for b := range a.empty {
		a.fill(b)
		a.filled <- b
		if b.last {
			return
		}
	}
}

// fill decodes a session that begins at the end of the present block, and those of the next one.
func (a *ahead) fill(b *batch) {
	b.sessions, b.split, b.block, b.last = b.sessions[:0], b.split[:0], nil, false
	b.err = a.decode(b)
	b.last = a.left == 0 || b.err != nil
	if !b.last {
		b.block = a.in.leave()
	}
}

func (a *ahead) decode(b *batch) error {
	for a.left > 0 {
		record, err := a.in.whole()
		if err != nil {
			return err
		}
		if record == nil {
			if len(b.sessions) > 0 {
				return nil
			}
			if b.split, err = a.in.join(b.split, a.in.free); err != nil {
				return err
			}
			if record, err = unframe(b.split); err != nil {
				return err
			}
		}
		if err := b.add(a.all, record); err != nil {
			return err
		}
		a.left--
	}
	return nil
}

// add decodes one session.
func (b *batch) add(all *accounts, record []byte) error {
	b.sessions = slices.Grow(b.sessions, 1)[:len(b.sessions)+1]
	s := &b.sessions[len(b.sessions)-1]
	r := &reader{b: record}
	if r.session(s); r.bad || len(r.b) > 0 {
		b.sessions = b.sessions[:len(b.sessions)-1]
		return ErrBadEncoding
	}
	s.hash = all.hash(borrowed(s.username))
	return nil
}

// next returns some sessions, good until the next call.
func (a *ahead) next() *batch {
	if a.taken != nil {
		a.in.free(a.taken.block)
		a.empty <- a.taken
	}
	a.taken = <-a.filled
	return a.taken
}

// stop waits until the goroutine has ended: the reader is the caller's again.
func (a *ahead) stop() {
	close(a.empty)
	for range a.filled { // until it is closed
	}
}
