package propose

import (
	"bytes"
	"errors"
	"testing"

	"cloakroom/cluster/session"
)

func someCalls() []*call {
	var calls []*call
	for _, cmd := range []session.Command{
		&session.Tick{},
		&session.Put{Key: session.KeyOf([]byte("a")), Attrs: []session.Attr{{Key: "k", Value: "v"}}},
		&session.Invalidate{Key: session.KeyOf([]byte("b")), Reason: session.EndedByLogout},
	} {
		encoded, err := session.AppendCommand(nil, cmd)
		if err != nil {
			panic(err)
		}
		calls = append(calls, newCall(cmd, len(encoded)))
	}
	return calls
}

func someOutcomes() []outcome {
	return []outcome{
		{verdict: applied, index: 1 << 40, result: session.Result{Rev: 7}},
		{verdict: notAppended},
		{verdict: unknown},
		{verdict: overloaded},
		{verdict: applied, index: 3, result: session.Result{Err: session.ErrSessionInvalid}},
	}
}

func mustEncode(outcomes []outcome) []byte {
	data, err := encodeOutcomes(outcomes)
	if err != nil {
		panic(err)
	}
	return data
}

func TestBatchSurvivesTheWire(t *testing.T) {
	want := someCalls()
	frame, err := encodeBatch(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodeBatch(frame)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != len(want) {
		t.Fatalf("%d commands, want %d", len(got), len(want))
	}
	for i := range got {
		if got[i].size != want[i].size || got[i].cmd.Kind() != want[i].cmd.Kind() {
			t.Errorf("command %d: kind %d of %d bytes, want kind %d of %d", i, got[i].cmd.Kind(), got[i].size, want[i].cmd.Kind(), want[i].size)
		}
	}
}

func TestOutcomesSurviveTheWire(t *testing.T) {
	want := someOutcomes()
	got, err := decodeOutcomes(mustEncode(want), len(want))
	if err != nil {
		t.Fatal(err)
	}
	for i := range want {
		w, g := want[i], got[i]
		if g.verdict != w.verdict || g.index != w.index || g.result.Rev != w.result.Rev || (g.result.Err == nil) != (w.result.Err == nil) {
			t.Errorf("outcome %d: %+v, want %+v", i, g, w)
		}
		if w.result.Err != nil && !errors.Is(g.result.Err, w.result.Err) {
			t.Errorf("outcome %d: error %v, want %v", i, g.result.Err, w.result.Err)
		}
	}
	if _, err := decodeOutcomes(mustEncode(want), len(want)+1); err == nil {
		t.Error("an answer with too few outcomes was taken")
	}
}

// A denial is told from the machine's answer by its index, and from an answer to a command by its error.
func TestDenialOnTheWire(t *testing.T) {
	want := outcome{verdict: denied, index: 7, result: session.Result{Err: ErrUpgradePending}}
	frame := mustEncode([]outcome{want})
	if frame[2] != byte(applied) || frame[3] != 0 {
		t.Errorf("verdict %d, index %d: a node that knows nothing of denials can't read it", frame[2], frame[3])
	}
	got, err := decodeOutcomes(frame, 1)
	if err != nil || got[0].verdict != denied || got[0].index != 0 || *got[0].result.Err != *ErrUpgradePending {
		t.Errorf("%+v, %v", got, err)
	}
	for name, o := range map[string]outcome{
		"applied without an entry": {verdict: applied},
		"a verdict of tomorrow":    {verdict: 6},
	} {
		if got, err := decodeOutcomes(mustEncode([]outcome{o}), 1); err == nil {
			t.Errorf("%s was taken: %+v", name, got)
		}
	}
	if got, err := decodeOutcomes([]byte{frameVersion, 1, byte(denied)}, 1); err == nil {
		t.Errorf("a denial without a reason was taken: %+v", got)
	}
}

func FuzzDecodeBatch(f *testing.F) {
	frame, err := encodeBatch(someCalls())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(frame)
	f.Add(frame[:len(frame)-1])
	f.Add([]byte{frameVersion, 0xff, 0xff, 0x03})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		calls, err := decodeBatch(data)
		if err != nil {
			return
		}
		again, err := encodeBatch(calls)
		if err != nil {
			t.Fatalf("a decoded batch can't be encoded: %v", err)
		}
		if _, err := decodeBatch(again); err != nil {
			t.Fatalf("a batch that was encoded again can't be decoded: %v", err)
		}
	})
}

func FuzzDecodeOutcomes(f *testing.F) {
	f.Add(mustEncode(someOutcomes()), len(someOutcomes()))
	f.Add(mustEncode([]outcome{{verdict: denied, result: session.Result{Err: ErrUpgradePending}}}), 1)
	f.Add([]byte{frameVersion, 1, 9}, 1)
	f.Add([]byte{}, 0)
	f.Fuzz(func(t *testing.T, data []byte, want int) {
		outcomes, err := decodeOutcomes(data, want)
		if err != nil {
			return
		}
		if len(outcomes) != want {
			t.Fatalf("%d outcomes, want %d", len(outcomes), want)
		}
		first := mustEncode(outcomes)
		again, err := decodeOutcomes(first, want)
		if err != nil || !bytes.Equal(first, mustEncode(again)) {
			t.Fatalf("outcomes changed on the way: %v", err)
		}
	})
}
