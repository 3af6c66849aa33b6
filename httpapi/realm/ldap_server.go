package realm

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// ldapServer is one of a realm's directory servers.
type ldapServer struct {
	address        ldapAddress
	ssl, startTLS  bool
	rootCAs        *x509.CertPool
	connectTimeout time.Duration
	log            *slog.Logger

	mu        sync.Mutex
	failing   bool
	downUntil time.Time // until then the others are asked first
	refused   time.Time // until then the service account's password is not tried again
}

func (s *ldapServer) accountRefused() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().Before(s.refused)
}

func (s *ldapServer) refuseAccount() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refused = time.Now().Add(accountPause)
}

func (s *ldapServer) isDown(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return now.Before(s.downUntil)
}

// note remembers whether the server worked, and logs when that changes.
func (s *ldapServer) note(failure error) {
	s.mu.Lock()
	was := s.failing
	s.failing = failure != nil
	if failure != nil {
		s.downUntil = time.Now().Add(downMemory)
	} else {
		s.downUntil = time.Time{}
	}
	s.mu.Unlock()
	switch {
	case failure != nil && !was:
		s.log.Warn("a directory server does not work", "server", s.address.dial, "error", failure)
	case failure == nil && was:
		s.log.Info("a directory server works again", "server", s.address.dial)
	}
}

// order returns the servers as they are to be asked: in the order of the configuration, those that failed a moment ago
// last.
func order(servers []*ldapServer, now time.Time) []*ldapServer {
	ordered := make([]*ldapServer, 0, len(servers))
	var down []*ldapServer
	for _, s := range servers {
		if s.isDown(now) {
			down = append(down, s)
		} else {
			ordered = append(ordered, s)
		}
	}
	return append(ordered, down...)
}

// onServer asks one server after the other until one works. Each has an equal share of the time that is left, so that
// one that hangs leaves time for the next.
func (d *ldapDirectory) onServer(ctx context.Context, ask func(context.Context, *ldapServer) error) error {
	limited, cancel := context.WithTimeout(ctx, time.Duration(d.cfg.Timeout))
	defer cancel()
	var failures error
	servers := order(d.servers, time.Now())
	for i, s := range servers {
		deadline, _ := limited.Deadline()
		share := time.Until(deadline) / time.Duration(len(servers)-i)
		attempt, cancel := context.WithTimeout(limited, share)
		err := ask(attempt, s)
		hung := attempt.Err()
		cancel()
		switch {
		case ctx.Err() != nil:
			return ctx.Err() // who asked has gone: it says nothing about the server
		case err == nil, !isFault(err, serverFails) && (hung == nil || !errors.Is(err, hung)):
			s.note(nil)
			return err
		}
		s.note(err)
		failures = errors.Join(failures, fmt.Errorf("%s: %w", s.address.dial, err))
	}
	return fault(serverFails, failures)
}
