package gossip

import (
	"fmt"
	"testing"
	"time"

	"github.com/hashicorp/memberlist"

	"cloakroom/cluster/clustertest"
)

func TestTableForgetsTheOldestOfTooMany(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		tab := newTable()
		for i := range maxGone + 50 {
			name := fmt.Sprintf("%04d", i)
			tab.put(&memberlist.Node{Name: name}, announcement{Meta: Meta{ID: name}})
			if i > 0 { // the first stays alive and must never go
				tab.lose(name)
			}
			time.Sleep(time.Millisecond)
		}
		got := tab.list("")
		if len(got) != maxGone+1 || got[0].ID != "0000" || got[1].ID != "0050" {
			t.Fatalf("%d members, from %s, %s", len(got), got[0].ID, got[1].ID)
		}
		time.Sleep(keepGone + time.Second)
		if got = tab.list(""); len(got) != 1 || got[0].State != StateAlive {
			t.Errorf("%+v", got)
		}
	})
}
