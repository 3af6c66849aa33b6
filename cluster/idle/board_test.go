package idle

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"cloakroom/cluster/clustertest"
	"cloakroom/cluster/session"
	"cloakroom/cluster/wire"
)

// Who was told that its uses are on the board waits no more; the uses stay, once, however often they are brought.
func TestBoardForgetsWhoDoesNotWait(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		var coalesced atomic.Uint64
		b := newBoard(func(context.Context, []session.Use) (uint64, error) { return 0, wire.ErrNoLeader }, &coalesced)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); b.run(ctx) }()
		uses := []session.Use{{Key: session.Key{1}, At: 1000}, {Key: session.Key{2}, At: 1000}}
		for range 3 {
			if _, err := b.bring(t.Context(), uses); !errors.Is(err, ErrOnBoard) {
				t.Fatal(err)
			}
		}
		b.mu.Lock()
		posts, waiting := len(b.posts), len(b.wait)
		for _, p := range b.posts {
			waiting += len(p.tickets)
		}
		b.mu.Unlock()
		if posts != 2 || waiting != 0 || coalesced.Load() != 0 {
			t.Errorf("%d uses, %d who wait, %d merged", posts, waiting, coalesced.Load())
		}
		cancel()
		<-done
		if _, err := b.bring(t.Context(), uses); !errors.Is(err, wire.ErrNoLeader) {
			t.Errorf("a closed board: %v", err)
		}
	})
}
