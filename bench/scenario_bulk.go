package main

import (
	"context"
	"errors"
	"fmt"

	"cloakroom/bench/load"
	"cloakroom/bench/peer"
)

// bulkVerify measures how many tokens a second can be checked by calls for many.
type bulkVerify struct{}

var _ scenario = bulkVerify{}

const tokensPerSecond = "tokens a second"

func (bulkVerify) about() about {
	return about{
		Name: "bulk", What: "POST /api/sessions/verify of 1,000 random tokens on the leader, MGET of as many keys at redis. The product lets each caller check 250,000 tokens a second for each processor, so there are as many callers as connections",
		Loop: closedLoop + ", 32 connections at most", Main: append([]string{tokensPerSecond, p50, p99}, throughput...),
	}
}

func (bulkVerify) begin(ctx context.Context, f *field) ([]turn, error) {
	s, err := f.opened(ctx)
	if err != nil {
		return nil, err
	}
	workers := min(bulkConnections, f.set.Connections)
	callers, err := s.Callers(ctx, workers)
	if err != nil {
		return nil, err
	}
	if len(callers) < workers {
		return nil, fmt.Errorf("%w: a user without the role admin can't make the callers that it takes to get past the limit of one", errLeftOut)
	}
	loop := func(open load.Open) load.Config {
		cfg := f.set.closed(open)
		cfg.Workers = workers
		return cfg
	}
	turns := []turn{f.loaded(us, 0, f.spotNamed(atLeader), loop, func(s *peer.Service) load.Open {
		return s.VerifyBulk(f.sessions, callers, bulkTokens)
	})}
	others, err := f.others(0, loop, func(p peer.Peer) (load.Open, error) {
		if p, ok := p.(peer.Bulk); ok {
			return p.Bulk(bulkTokens)
		}
		return nil, peer.ErrNotOffered
	})
	turns = append(turns, others...)
	for i, t := range turns {
		turns[i].take = func(ctx context.Context) ([]sample, error) {
			samples, err := t.take(ctx)
			if errors.Is(err, peer.ErrThrottled) {
				err = fmt.Errorf("the machine checks more than the callers may: %w", err)
			}
			for _, s := range samples {
				if err == nil {
					s.Figures[tokensPerSecond] = s.Figures[perSecond] * bulkTokens
				}
			}
			return samples, err
		}
	}
	return turns, err
}
