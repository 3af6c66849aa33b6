package peer

import (
	"errors"
	"io"
)

// ports are loopback addresses for servers that can't be told to choose. Where the system allows it they are held for as
// long as the servers may be started, or started again: else any connection may get the port of one that does not run,
// as its own end.
type ports struct {
	addrs []string
	held  []io.Closer
}

// takePorts takes n of them.
func takePorts(n int) (*ports, error) {
	p := &ports{}
	var choosing []io.Closer // until all are chosen, so that they differ
	for range n {
		addr, chosen, held, err := takePort()
		if err != nil {
			return nil, errors.Join(err, closeEach(choosing), p.release())
		}
		p.addrs = append(p.addrs, addr)
		if chosen != nil {
			choosing = append(choosing, chosen)
		}
		if held != nil {
			p.held = append(p.held, held)
		}
	}
	return p, closeEach(choosing)
}

// release gives them back; nil has none.
func (p *ports) release() error {
	if p == nil {
		return nil
	}
	held := p.held
	p.held = nil
	return closeEach(held)
}

func closeEach(all []io.Closer) error {
	var errs []error
	for _, c := range all {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}
