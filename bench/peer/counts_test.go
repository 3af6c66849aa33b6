package peer

import (
	"strings"
	"testing"
	"time"
)

func TestCounter(t *testing.T) {
	const text = "# HELP a_total Of a.\n# TYPE a_total counter\na_total_more 9\na_total 3\nbig_total 1.5e+06\nlabelled{x=\"y\"} 7\nbroken x\n"
	for name, want := range map[string]int{"a_total": 3, "big_total": 1_500_000} {
		if got, err := counter(text, name); err != nil || got != want {
			t.Errorf("%s: %d, %v; want %d", name, got, err, want)
		}
	}
	for _, name := range []string{"a", "labelled", "broken", "TYPE"} {
		if got, err := counter(text, name); err == nil {
			t.Errorf("%s: %d, want an error", name, got)
		}
	}
}

func TestMachineTime(t *testing.T) {
	const text = "cpu  100 20 30 400 50 6 7 8 0 0\ncpu0 1 2 3 4 5 6 7 8 0 0\n"
	got, err := parseMachine(text)
	want := MachineTime{Busy: 1630 * time.Millisecond, Idle: 4500 * time.Millisecond, Stolen: 80 * time.Millisecond}
	if err != nil || got != want {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	spent := MachineTime{Busy: 4 * time.Second, Idle: 5 * time.Second, Stolen: time.Second}.Since(MachineTime{Busy: time.Second, Idle: 3 * time.Second})
	if spent != (MachineTime{Busy: 3 * time.Second, Idle: 2 * time.Second, Stolen: time.Second}) || spent.Share(spent.Busy) != 0.5 {
		t.Errorf("%+v, %v busy", spent, spent.Share(spent.Busy))
	}
	if share := (MachineTime{}).Share(0); share != 0 {
		t.Errorf("of nothing: %v", share)
	}
	for _, bad := range []string{"", "cpu0 1 2 3 4 5 6 7 8", "cpu 1 2 3", strings.Replace(text, "400", "x", 1)} {
		if got, err := parseMachine(bad); err == nil {
			t.Errorf("%q: %+v, want an error", bad, got)
		}
	}
}

func TestHogsAreBusyUntilTheyAreStopped(t *testing.T) {
	h := NewHogs(standIn("hog")...)
	t.Cleanup(func() {
		if err := h.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err := h.Start(t.TempDir(), 2); err != nil {
		t.Fatal(err)
	}
	pids := pidsOf(h.processes)
	if len(pids) != 2 {
		t.Fatalf("%d processes", len(pids))
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		used, known := CPUTime(pids)
		if used > 100*time.Millisecond {
			break
		}
		if !known {
			t.Skip("this system has no /proc")
		}
		<-tick.C
	}
	if err := h.Ended(); err != nil {
		t.Error(err)
	}
	if err := h.Stop(); err != nil {
		t.Error(err)
	}
	if left := pidsOf(h.processes); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	broken := NewHogs(standIn("fail")...)
	if err := broken.Start(t.TempDir(), 1); err != nil {
		t.Fatal(err)
	}
	<-broken.processes[0].done
	if err := broken.Ended(); err == nil || !strings.Contains(err.Error(), "there is no such flag") {
		t.Errorf("%v, want what it printed", err)
	}
}
