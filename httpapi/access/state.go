package access

import (
	"context"

	"cloakroom/cluster"
	"cloakroom/cluster/session"
	"cloakroom/httpapi/exchange"
)

// State is what handlers have of the cluster: reads as fresh as a request may ask for, within the time that it has, and
// commands.
type State struct {
	Cluster    Cluster
	Standard   cluster.Level // of reads
	allowLocal bool          // let a request weaken its own reads to local
	Base       context.Context
	Deadlines  *deadlines
}

// Context returns the context of everything that the request waits for. It ends with the handler, after
// requestTimeout, or when the server closes.
func (s *State) Context(rc *exchange.Request) context.Context {
	if rc.Waiting == nil {
		rc.Waiting, rc.Cancel = context.WithTimeout(s.Base, requestTimeout)
	}
	return rc.Waiting
}

// Level returns how fresh the request's reads must be: what is configured, or more when the header Consistency asks
// for more. It asks for less in vain, unless the server allows local reads by request.
func (s *State) Level(rc *exchange.Request) (cluster.Level, error) {
	header := rc.Ctx.Request.Header.Peek(exchange.HeaderConsistency)
	rc.Named = len(header) > 0
	switch string(header) {
	case "":
		return s.Standard, nil
	case "quorum":
		return max(s.Standard, cluster.Quorum), nil
	case "lease":
		return max(s.Standard, cluster.Lease), nil
	case "local":
		if s.allowLocal {
			return cluster.Local, nil
		}
	}
	return 0, exchange.ErrConsistency
}

// DecisionLevel is that of reads that a change rests on: the record that it changes, or whether the caller may. They are
// few, so they trust no clock.
const DecisionLevel = cluster.Quorum

// OwnLevel is that of the answer to a change, which shows the record as it is now. It may be weaker than what the change
// rested on, but not so weak that a node which lags does not know of the change itself.
func (s *State) OwnLevel() cluster.Level { return max(s.Standard, cluster.Lease) }

// Do makes a command take effect. When the request runs out of time first, nobody can say whether it did.
func (s *State) Do(rc *exchange.Request, cmd session.Command) (session.Result, error) {
	result, err := s.Cluster.Do(s.Context(rc), cmd)
	if err != nil && exchange.IsUnknown(err) {
		err = cluster.ErrOutcomeUnknown
	}
	return result, err
}

// lookup answers for a session by its key, and counts as use of it unless the client says that it must not. A node that
// is cut off may answer at level local what nobody has named a level for; the answer, of whatever kind, says so.
func (s *State) lookup(rc *exchange.Request, key session.Key, level cluster.Level) (session.View, error) {
	ask := s.Cluster.Use
	if string(rc.Ctx.Request.Header.Peek(exchange.HeaderNoTouch)) == "1" {
		ask = s.Cluster.Lookup
	}
	view, at, err := ask(s.Deadlines.Until(rc.Start), key, level)
	if at >= level {
		return view, err
	}
	if rc.Named { // whoever names a level wants no less
		return session.View{}, cluster.ErrCutOff
	}
	rc.Weakened = true
	rc.Ctx.Response.Header.Set(exchange.HeaderConsistency, at.String())
	return view, err
}

// Whole returns all of a session that session has returned, as fresh as that was.
func (s *State) Whole(rc *exchange.Request, key session.Key) (*session.Session, error) {
	level, err := s.Level(rc)
	if err != nil {
		return nil, err
	}
	if rc.Weakened {
		level = cluster.Local
	}
	return s.Cluster.Whole(s.Deadlines.Until(rc.Start), key, level)
}

// Read is a read at the level of the request.
func (s *State) Read(rc *exchange.Request, fn func(*session.Machine)) error {
	level, err := s.Level(rc)
	if err != nil {
		return err
	}
	return s.Cluster.Read(s.Context(rc), level, fn)
}
