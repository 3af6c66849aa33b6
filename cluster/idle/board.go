package idle

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"cloakroom/cluster/session"
	"cloakroom/cluster/wire"
)

// board is where the leader gathers the uses that all nodes bring, merges those of one session, and takes them into the
// log in the order of their coming, no faster than MaxTouchRate.
type board struct {
	propose func(ctx context.Context, uses []session.Use) (index uint64, err error)
	rate    *limiter
	wake    chan struct{} // capacity 1

	coalesced *atomic.Uint64

	mu     sync.Mutex
	closed bool
	posts  map[session.Key]*post // the latest of each session, until it is in the log
	wait   map[*ticket]bool      // those that are not complete
	queue  []*post               // those that are not on their way yet
	done   uint64                // uses in the log so far
}

// post is a use on the board. Those who wait for it are told when it is in the log.
type post struct {
	use     session.Use
	flying  bool
	tickets []*ticket
}

// ticket is a batch that somebody waits for.
type ticket struct {
	left  int
	posts []*post
	index uint64
	done  chan struct{} // closed when all of it is in the log
}

func newBoard(propose func(context.Context, []session.Use) (uint64, error), coalesced *atomic.Uint64) *board {
	return &board{
		propose: propose, coalesced: coalesced,
		rate: newLimiter(boardRate),
		wake: make(chan struct{}, 1), posts: make(map[session.Key]*post), wait: make(map[*ticket]bool),
	}
}

// bring puts uses on the board and returns when they are in the log; after BoardHold with ErrOnBoard: they are on the
// board, and whoever brings them again may go on waiting. The index is 0 if there are none.
func (b *board) bring(ctx context.Context, uses []session.Use) (index uint64, err error) {
	t := &ticket{left: len(uses), done: make(chan struct{})}
	if t.left == 0 {
		return 0, nil
	}
	if err := b.post(uses, t); err != nil {
		return 0, err
	}
	hold := time.NewTimer(BoardHold)
	defer hold.Stop()
	select {
	case <-t.done:
		if t.left > 0 {
			return 0, wire.ErrNoLeader
		}
		return t.index, nil
	case <-hold.C:
		b.leave(t)
		return 0, ErrOnBoard
	case <-ctx.Done():
		b.leave(t)
		return 0, wire.ErrTimeout
	}
}

// leave forgets somebody who waits no more. What was brought stays.
func (b *board) leave(t *ticket) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.wait, t)
	for _, p := range t.posts {
		p.tickets = slices.DeleteFunc(p.tickets, func(other *ticket) bool { return other == t })
	}
}

// post puts uses on the board, all or none. The ticket may be nil: then nobody waits.
func (b *board) post(uses []session.Use, t *ticket) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return wire.ErrNoLeader
	case len(b.posts)+b.newLocked(uses) > MaxBoard:
		return ErrBoardFull
	}
	if t != nil {
		b.wait[t] = true
	}
	for _, u := range uses {
		p := b.posts[u.Key]
		switch {
		case p == nil || p.flying && p.use.At < u.At:
			p = &post{use: u}
			b.posts[u.Key] = p
			b.queue = append(b.queue, p)
		case p.use.At == u.At: // brought again, most likely
		default:
			p.use.At = max(p.use.At, u.At)
			b.coalesced.Add(1)
		}
		if t != nil {
			p.tickets = append(p.tickets, t)
			t.posts = append(t.posts, p)
		}
	}
	signal(b.wake)
	return nil
}

// newLocked counts the uses of sessions of which none is on the board.
func (b *board) newLocked(uses []session.Use) (n int) {
	for _, u := range uses {
		if b.posts[u.Key] == nil {
			n++
		}
	}
	return n
}

// last returns the latest use of a session on the board, 0 for none.
func (b *board) last(k session.Key) session.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p := b.posts[k]; p != nil {
		return p.use.At
	}
	return 0
}

// load returns how many uses wait, and how many have come into the log so far.
func (b *board) load() (waiting int, done uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.posts), b.done
}

// run takes what is on the board into the log until ctx ends. Then nobody waits for it any more.
func (b *board) run(ctx context.Context) {
	var group sync.WaitGroup
	defer b.close()
	defer group.Wait()
	slots := make(chan struct{}, TouchesInFlight)
	for {
		select {
		case <-b.wake:
		case <-ctx.Done():
			return
		}
		for {
			select {
			case slots <- struct{}{}:
			case <-ctx.Done():
				return
			}
			n := b.next()
			if n == 0 {
				<-slots
				break
			}
			if !b.rate.wait(ctx, n) {
				return
			}
			posts, uses := b.take(n)
			group.Go(func() {
				b.fly(ctx, posts, uses)
				<-slots
			})
		}
	}
}

func (b *board) next() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return min(len(b.queue), TouchBatch)
}

func (b *board) take(n int) (posts []*post, uses []session.Use) {
	b.mu.Lock()
	defer b.mu.Unlock()
	posts = b.queue[:n:n]
	b.queue = b.queue[n:]
	for _, p := range posts {
		p.flying = true
		uses = append(uses, p.use)
	}
	return posts, uses
}

// fly proposes until it succeeds or ctx ends: touches may be repeated.
func (b *board) fly(ctx context.Context, posts []*post, uses []session.Use) {
	index, err := b.propose(ctx, uses)
	for err != nil {
		if !sleep(ctx, FlushInterval) || !b.rate.wait(ctx, len(uses)) {
			return
		}
		index, err = b.propose(ctx, uses)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.done += uint64(len(posts))
	for _, p := range posts {
		if b.posts[p.use.Key] == p {
			delete(b.posts, p.use.Key)
		}
		for _, t := range p.tickets {
			t.index = max(t.index, index)
			if t.left--; t.left == 0 {
				delete(b.wait, t)
				close(t.done)
			}
		}
	}
}

// close sends away all who wait.
func (b *board) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	for t := range b.wait { // not by way of the posts: one that a later use has replaced while it was under way is on none
		close(t.done)
	}
	clear(b.wait)
}
