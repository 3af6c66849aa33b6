package realm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// linkPool keeps connections of the service account that nobody uses at the moment, a bounded number of them and each
// for a bounded time. Connections on which a user was bound never come here.
type linkPool struct {
	mu     sync.Mutex
	idle   []*ldapLink // the last one used last
	closed bool
}

// take returns an idle connection to that server, nil if there is none.
func (p *linkPool) take(s *ldapServer) *ldapLink {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, link := range slices.Backward(p.idle) {
		if link.server == s {
			p.idle = slices.Delete(p.idle, i, i+1)
			link.expiry.Stop()
			return link
		}
	}
	return nil
}

// put takes a connection back, or closes it.
func (p *linkPool) put(link *ldapLink) {
	if link.spoiled || link.client.IsClosing() || !p.keep(link) {
		link.close()
	}
}

func (p *linkPool) keep(link *ldapLink) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.idle) >= maxIdleLinks {
		return false
	}
	link.expiry = time.AfterFunc(idleLink, func() { p.expire(link) })
	p.idle = append(p.idle, link)
	return true
}

// expire closes a connection that is still idle.
func (p *linkPool) expire(link *ldapLink) {
	p.mu.Lock()
	i := slices.Index(p.idle, link)
	if i >= 0 {
		p.idle = slices.Delete(p.idle, i, i+1)
	}
	p.mu.Unlock()
	if i >= 0 {
		link.close()
	}
}

// close closes what is idle; what is in use is closed when it comes back.
func (p *linkPool) close() {
	p.mu.Lock()
	idle := p.idle
	p.idle, p.closed = nil, true
	p.mu.Unlock()
	for _, link := range idle {
		link.expiry.Stop()
		link.close()
	}
}

// asAccount runs operations on a connection of the service account. A connection that was kept may have been closed by
// the other side meanwhile: what fails on one is done once more on a new one.
func (d *ldapDirectory) asAccount(ctx context.Context, s *ldapServer, operate func(*ldapLink) error) error {
	for link := d.pool.take(s); link != nil; link = d.pool.take(s) {
		err := operate(link)
		d.giveBack(link, err)
		if ctx.Err() != nil || !isFault(err, serverFails) {
			return err
		}
	}
	link, err := s.dial(ctx)
	if err != nil {
		return err
	}
	if err := d.bindAccount(ctx, link); err != nil {
		link.close()
		return err
	}
	err = operate(link)
	d.giveBack(link, err)
	return err
}

// giveBack keeps a connection unless something went wrong on it.
func (d *ldapDirectory) giveBack(link *ldapLink, err error) {
	if isFault(err, serverFails) {
		link.spoiled = true
	}
	d.pool.put(link)
}

// bindAccount makes a new connection the service account's. A refused password is not tried again for a while: servers
// lock accounts after a few.
func (d *ldapDirectory) bindAccount(ctx context.Context, link *ldapLink) error {
	if link.server.accountRefused() {
		return fault(serverFails, errAccountRefused)
	}
	err := link.bind(ctx, d.cfg.Login.BindDN, string(d.cfg.Login.BindPassword.Text))
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrInvalidCredentials): // the account's, not the user's: it must not leave here
		link.server.refuseAccount()
		return fault(serverFails, errAccountRefused)
	}
	return fmt.Errorf("service account: %w", err)
}
