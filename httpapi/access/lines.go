package access

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"cloakroom/cluster/tries"
	"cloakroom/httpapi/exchange"
)

// reserve counts a login as failed, for the whole cluster, before anything is done about its password: neither a hash nor
// a question to a directory server is free. The error is tries.ErrFailures with a time to wait, or the cluster's.
//
// Until the first of many logins at once has turned out right, all of them look like guesses. So one that is refused
// waits, for a bounded time, for those of the same user from the same address that are under way on this node, and asks
// once more for each of them that was right. A guesser gains nothing by that: who may try is the leader's decision as
// before, and a wrong password has nobody ask again.
func (d *Door) reserve(rc *exchange.Request, realmName, username string) (*reservation, error) {
	ctx := d.state.Context(rc)
	addr := d.clients.ClientAddr(rc)
	key := lineKey{realmName, strings.ToLower(username), tries.Network(addr)}
	waiting, cancel := context.WithTimeout(ctx, lineTime)
	defer cancel()
	d.lines.enter(key)
	var told <-chan struct{} // of the login that let this one ask again
	for {
		ticket, err := d.state.Cluster.Reserve(ctx, realmName, username, addr)
		if err == nil {
			return &reservation{ticket: ticket, lines: &d.lines, key: key}, nil
		}
		if !errors.Is(err, tries.ErrFailures) {
			d.lines.leave(key, told)
			return nil, err
		}
		var again bool
		if told, again = d.lines.wait(waiting, key); !again {
			d.Throttled.Add(1)
			return nil, err
		}
	}
}

// reservation is a granted try: one of those that others may wait for.
type reservation struct {
	ticket *tries.Ticket
	lines  *loginLines
	key    lineKey
	told   <-chan struct{} // set by forgive
}

// forgive takes the try back: see tries.Ticket.
func (r *reservation) forgive(proven bool) {
	r.ticket.Forgive(proven)
	r.told = r.ticket.Told()
}

// close says that the try is over. One that was not forgiven stays counted.
func (r *reservation) close() { r.lines.leave(r.key, r.told) }

// loginLines are the logins that wait, by whom they are of.
type loginLines struct {
	mu      sync.Mutex
	of      map[lineKey]*line
	waiting int // in all of them
}

// lineKey is a user at an address. A name is in lower case here whatever the realm thinks of that: it only decides who waits
// for whom.
type lineKey struct {
	realm, user string
	from        netip.Addr
}

// line is a queue behind those who try, or ask whether they may. When there are none of these the line is dispersed: nobody
// is left who could make room.
type line struct {
	trying  int
	waiting []chan (<-chan struct{}) // each of capacity 1; closed: refused
}

func (l *loginLines) enter(key lineKey) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.of == nil {
		l.of = map[lineKey]*line{}
	}
	if l.of[key] == nil {
		l.of[key] = &line{}
	}
	l.of[key].trying++
}

// leave takes one of those who try out. If its try was forgiven, told says when that has taken effect, and the first of the
// line tries in its place.
func (l *loginLines) leave(key lineKey, told <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	of := l.of[key]
	if told != nil && len(of.waiting) > 0 {
		of.waiting[0] <- told
		of.waiting = of.waiting[1:]
		l.waiting--
		return
	}
	l.stopLocked(key, of)
}

// stopLocked has one less try.
func (l *loginLines) stopLocked(key lineKey, of *line) {
	if of.trying--; of.trying > 0 {
		return
	}
	for _, ch := range of.waiting {
		close(ch)
	}
	l.waiting -= len(of.waiting)
	delete(l.of, key)
}

// wait has one who was refused wait at the end of the line until it may ask again; false: it is refused for good, as it
// has nobody to wait for, the line is full, or the time is up. Whoever may ask again is one of those who try once more, and
// told is what it passes on if it does not get so far.
func (l *loginLines) wait(ctx context.Context, key lineKey) (told <-chan struct{}, again bool) {
	l.mu.Lock()
	of := l.of[key]
	alone := of.trying == 1
	l.stopLocked(key, of)
	if alone || len(of.waiting) >= MaxLine || l.waiting >= maxLines {
		l.mu.Unlock()
		return nil, false
	}
	ch := make(chan (<-chan struct{}), 1)
	of.waiting = append(of.waiting, ch)
	l.waiting++
	l.mu.Unlock()

	select {
	case told, again = <-ch:
	case <-ctx.Done():
		if told, again = l.stepOut(key, ch); again { // it was its turn at the same moment
			l.leave(key, told)
			again = false
		}
	}
	if !again {
		return nil, false
	}
	select {
	case <-told:
		return told, true
	case <-ctx.Done():
		l.leave(key, told)
		return nil, false
	}
}

// stepOut takes one who waits out of the line. It returns what there was for it if it is not in the line any more.
func (l *loginLines) stepOut(key lineKey, ch chan (<-chan struct{})) (told <-chan struct{}, again bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if of := l.of[key]; of != nil {
		if at := slices.Index(of.waiting, ch); at >= 0 {
			of.waiting = slices.Delete(of.waiting, at, at+1)
			l.waiting--
			return nil, false
		}
	}
	told, again = <-ch
	return told, again
}

// InLine returns how many lines there are, and how many logins wait in them.
func (d *Door) InLine() (lines, waiting int) {
	d.lines.mu.Lock()
	defer d.lines.mu.Unlock()
	return len(d.lines.of), d.lines.waiting
}
