package propose

import (
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cloakroom/cluster/session"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares bytes with those of testdata/golden, which no later version may read otherwise.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", "golden", name+".hex")
	if *update {
		if err := os.WriteFile(path, []byte(hex.EncodeToString(got)+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.TrimSpace(string(want)) != hex.EncodeToString(got) {
		t.Errorf("%s has changed: %x", name, got)
	}
}

// Nodes of different versions send each other these frames.
func TestFramesGolden(t *testing.T) {
	batch, err := encodeBatch(someCalls())
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "batch-v1", batch)
	golden(t, "outcomes-v1", mustEncode(someOutcomes()))
	// These bytes are from before there were denials: what such a node reads in them is an answer without an entry.
	golden(t, "refusal-v1", mustEncode([]outcome{
		{verdict: denied, result: session.Result{Err: &session.Error{Code: "disk-low", Message: "no room"}}},
		{verdict: applied, index: 9, result: session.Result{Rev: 9}},
	}))
}
