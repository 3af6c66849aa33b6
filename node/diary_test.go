package main

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"

	"cloakroom/cluster/session"
	"cloakroom/httpapi/audit"
)

// TestDiaryTellsWhatItLeftOut: in the end, too, when no event comes any more that could.
func TestDiaryTellsWhatItLeftOut(t *testing.T) {
	for name, c := range map[string]struct{ events, lines, omitted int }{
		"all fit":      {2, 2, 0},
		"two left out": {4, 3, 2},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			log, err := audit.Open(audit.Config{Output: &out, Node: "n1", Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			d := &diary{log: log, share: 1, queue: make(chan audit.Event, 2)}
			for range c.events {
				d.member("added", session.Member{ID: "n2"})
			}
			d.group.Go(d.write)
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(strings.TrimSpace(out.String()), "\n")
			var last audit.Event
			if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil {
				t.Fatal(err)
			}
			if len(lines) != c.lines || last.Omitted != c.omitted {
				t.Errorf("%d lines, the last %+v", len(lines), last)
			}
		})
	}
}
