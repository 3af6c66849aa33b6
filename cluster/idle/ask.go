package idle

import (
	"context"
	"errors"
	"sync"

	"cloakroom/cluster/session"
	"cloakroom/cluster/wire"
)

// survey is what all nodes together know about the last uses of some sessions.
type survey struct {
	later []session.Time          // the latest use of each session, 0 for none
	since map[string]session.Time // by node: it has served nothing after it that is not known here
}

// silent is the since of a node that has not answered.
const silent = session.MaxTime + 1

func (v *survey) add(id string, since session.Time, later []session.Time) {
	v.since[id] = since
	for i, t := range later {
		v.later[i] = max(v.later[i], t)
	}
}

// reach returns how far back the answers of all nodes reach: what is known here is all that there is after it.
func (v *survey) reach() (since session.Time) {
	for _, t := range v.since {
		since = max(since, t)
	}
	return since
}

// survey asks all nodes, this one too. After it no node that has answered accepts a session that is over at now as far as
// it knows, without asking.
func (o *office) survey(ctx context.Context, now session.Time, keys []session.Key) (survey, error) {
	others, err := o.cfg.Others()
	if err != nil {
		return survey{}, err
	}
	v := survey{later: make([]session.Time, len(keys)), since: make(map[string]session.Time, len(others)+1)}
	since, later, err := o.answer(now, keys)
	if err != nil {
		return survey{}, err
	}
	v.add(o.cfg.Self, since, later)
	for i, k := range keys {
		v.later[i] = max(v.later[i], o.board.last(k)) // who brought it may be dead by now
	}
	ctx, cancel := context.WithTimeout(ctx, AskTimeout)
	defer cancel()
	body := askRequest{now: now, keys: keys}.encode()
	var group sync.WaitGroup
	var mu sync.Mutex
	for _, id := range others {
		group.Go(func() {
			a, err := o.askNode(ctx, id, body, len(keys))
			if err != nil {
				a = askAnswer{since: silent}
			}
			mu.Lock()
			defer mu.Unlock()
			v.add(id, a.since, a.later)
		})
	}
	group.Wait()
	return v, nil
}

// askNode asks one node, again if that does not know yet that this one leads.
func (o *office) askNode(ctx context.Context, id string, body []byte, keys int) (askAnswer, error) {
	for {
		answer, err := o.cfg.Peers.Call(ctx, id, KindAsk, body)
		if err == nil {
			a, err := decodeAnswer(answer)
			if err == nil && len(a.later) != keys {
				err = session.ErrBadEncoding
			}
			return a, err
		}
		if !errors.Is(err, wire.ErrNoLeader) || !sleep(ctx, AskPause) {
			return askAnswer{}, err
		}
	}
}

// answer tells what this node remembers of some sessions, 0 for nothing, and how far back that reaches.
func (k *Keeper) answer(now session.Time, keys []session.Key) (since session.Time, later []session.Time, err error) {
	if !k.cfg.Clock.Synced() || now > k.cfg.Clock.Now().Add(MaxAhead) {
		return 0, nil, ErrNotSynced
	}
	k.cfg.Clock.Floor(now) // this node may be the next leader: what was judged by a time must not come before it
	if since, later = k.uses.tell(now, keys); since == 0 {
		return 0, nil, ErrNotSynced
	}
	return since, later, nil
}

// serveAsk answers the leader. One that this node takes for a former leader gets no answer: it may not know of all nodes.
func (k *Keeper) serveAsk(_ context.Context, from wire.Peer, body []byte) ([]byte, error) {
	q, err := decodeAsk(body)
	if err != nil {
		return nil, err
	}
	if from.ID != k.cfg.Log.LeaderID() {
		return nil, wire.ErrNoLeader
	}
	since, later, err := k.answer(q.now, q.keys)
	if err != nil {
		return nil, err
	}
	return askAnswer{since: since, later: later}.encode(), nil
}
