package history

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

// parse makes a history of a script. Each line is one operation: when it began and ended, who asked, what, and what came of
// it, such as "0-1 c1 put u/k a=1 if=7 -> 9". "-" without an end: no answer. Times are seconds.
func parse(t *testing.T, script string) *History {
	t.Helper()
	type event struct {
		at  time.Duration
		run func()
	}
	var now time.Duration
	r := New(func() time.Duration { return now })
	var events []event
	for line := range strings.Lines(script) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		begun, ended, op, finish := parseLine(t, line)
		var call Call
		events = append(events, event{begun, func() { call = r.Begin(op) }})
		if finish != nil {
			events = append(events, event{ended, func() { finish(call) }})
		}
	}
	// At equal times lines that stand first go first.
	for len(events) > 0 {
		first := 0
		for i, e := range events {
			if e.at < events[first].at {
				first = i
			}
		}
		now = events[first].at
		events[first].run()
		events = append(events[:first:first], events[first+1:]...)
	}
	return r.History()
}

func parseLine(t *testing.T, line string) (begun, ended time.Duration, op Operation, finish func(Call)) {
	t.Helper()
	question, answer, _ := strings.Cut(line, " -> ")
	words := strings.Fields(question)
	from, to, _ := strings.Cut(words[0], "-")
	begun = seconds(t, from)
	op.Client, _ = strconv.Atoi(strings.TrimPrefix(words[1], "c"))
	kinds := map[string]Kind{"create": Create, "put": Put, "remove": Remove, "get": Get, "verify": Verify, "end": End, "endall": EndAll}
	op.Kind = kinds[words[2]]
	if op.Kind == 0 {
		t.Fatalf("line %q", line)
	}
	op.User, op.Key, _ = strings.Cut(words[3], "/")
	for _, w := range words[4:] {
		name, value, _ := strings.Cut(w, "=")
		switch name {
		case "if":
			op.IfRev = number(t, value)
		case "idle":
			op.Idle = seconds(t, value)
		case "life":
			op.Lifetime = seconds(t, value)
		case "use":
			op.Use = true
		case "name":
			op.Names = append(op.Names, value)
		default:
			op.Attrs = append(op.Attrs, Attr{name, value})
		}
	}
	if to == "" {
		return begun, 0, op, nil
	}
	return begun, seconds(t, to), op, parseAnswer(t, answer)
}

func parseAnswer(t *testing.T, text string) func(Call) {
	t.Helper()
	switch text {
	case "unknown":
		return Call.Unknown
	case "dropped":
		return Call.Dropped
	case "notlive":
		return func(c Call) { c.Refused(NotLive) }
	case "conflict":
		return func(c Call) { c.Refused(Conflict) }
	case "used":
		return func(c Call) { c.Refused(KeyUsed) }
	}
	var a Answer
	for w := range strings.FieldsSeq(text) {
		name, value, pair := strings.Cut(w, "=")
		switch {
		case w == "ok":
		case name == "ended":
			n := int(number(t, value))
			a.Ended = &n
		case pair:
			a.Attrs = append(a.Attrs, Attr{name, value})
		default:
			a.Rev = number(t, w)
		}
	}
	return func(c Call) { c.Done(a) }
}

func seconds(t *testing.T, text string) time.Duration {
	t.Helper()
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(f * float64(time.Second))
}

func number(t *testing.T, text string) uint64 {
	t.Helper()
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

var testRules = Rules{Early: 100 * time.Millisecond, Late: 5 * time.Second}

// What a correct store can answer passes.
func TestGoodHistories(t *testing.T) {
	for name, script := range map[string]string{
		"one after another": `
			0-1 c1 create u/k a=1 -> 5
			2-3 c1 get u/k -> a=1 5
			4-5 c2 put u/k b=2 if=5 -> 6
			6-7 c1 get u/k -> b=2 a=1 6
			8-9 c1 put u/k a=3 if=5 -> conflict
			10-11 c1 remove u/k name=a -> 7
			12-13 c1 get u/k -> b=2 7
			14-15 c1 remove u/k -> 8
			16-17 c1 get u/k -> 8
			18-19 c1 end u/k -> ok
			20-21 c1 get u/k -> notlive
			20-21 c2 put u/k a=1 -> notlive
			20-21 c3 end u/k -> notlive
			22-23 c1 create u/k -> used
			24-25 c1 create u/l -> 9
			26-27 c1 verify u/l -> ok`,
		"at the same time, in any order": `
			0-1 c1 create u/k a=0 -> 5
			2-9 c1 put u/k a=1 -> 7
			2-9 c2 put u/k a=2 -> 6
			3-4 c3 get u/k -> a=0 5
			5-6 c3 get u/k -> a=2 6
			10-11 c3 get u/k -> a=1 7`,
		"a logout that is under way": `
			0-1 c1 create u/k -> 5
			2-9 c1 end u/k -> ok
			3-4 c2 get u/k -> 5
			5-6 c2 get u/k -> notlive`,
		"a put of unknown outcome that comes late": `
			0-1 c1 create u/k a=0 -> 5
			2-3 c1 put u/k a=1 -> unknown
			4-5 c2 get u/k -> a=0 5
			6-7 c2 get u/k -> a=1 6
			8-9 c2 put u/k b=1 if=6 -> 7`,
		"a put of unknown outcome that never comes": `
			0-1 c1 create u/k a=0 -> 5
			2- c1 put u/k a=1
			4-5 c2 put u/k a=2 -> 6
			6-7 c2 get u/k -> a=2 6`,
		"a create of unknown outcome": `
			0-1 c1 create u/k a=0 -> unknown
			2-3 c2 get u/k -> notlive
			4-5 c2 get u/k -> a=0 5`,
		"a logout of unknown outcome": `
			0-1 c1 create u/k -> 5
			2-3 c1 end u/k -> unknown
			4-5 c2 get u/k -> 5
			6-7 c2 get u/k -> notlive`,
		"a compare-and-set behind one of unknown outcome": `
			0-1 c1 create u/k -> 5
			2-3 c1 put u/k a=1 if=5 -> unknown
			4-5 c2 put u/k a=2 if=5 -> conflict
			6-7 c2 get u/k -> a=1 6`,
		"changes whose revision nobody was told": `
			0-1 c1 create u/k -> ok
			2-3 c1 put u/k a=1 -> ok
			4-5 c1 get u/k -> a=1 9
			6-7 c1 put u/k a=2 if=9 -> ok
			8-9 c1 put u/k a=3 if=9 -> conflict
			10-11 c1 get u/k -> a=2 12`,
		"end-all, and a login after it": `
			0-1 c1 create u/k -> 5
			0-1 c2 create u/l -> 6
			2-3 c3 endall u -> ended=2
			4-5 c1 get u/k -> notlive
			4-5 c2 get u/l -> notlive
			6-7 c1 create u/m -> 8
			8-9 c1 get u/m -> 8`,
		"a login beside end-all": `
			0-1 c1 create u/k -> 5
			2-5 c3 endall u -> ended=1
			2-4 c2 create u/l -> 6
			6-7 c2 get u/l -> 6`,
		"idle for too long": `
			0-1 c1 create u/k idle=60 -> 5
			30-31 c1 get u/k use -> 5
			90-91 c1 get u/k -> notlive
			95-96 c1 put u/k a=1 -> notlive`,
		"not used, and accepted to the last moment": `
			0-1 c1 create u/k idle=60 -> 5
			60-61 c2 get u/k -> 5
			70-71 c2 get u/k -> notlive`,
		"over its lifetime, however busy": `
			0-1 c1 create u/k idle=60 life=100 -> 5
			50-51 c1 get u/k use -> 5
			99-99.5 c1 get u/k use -> 5
			101-102 c1 get u/k -> notlive`,
		"a use of unknown outcome keeps it": `
			0-1 c1 create u/k idle=60 -> 5
			30-31 c1 put u/k a=1 -> unknown
			80-81 c1 get u/k -> a=1 6`,
		"dropped": `
			0-1 c1 create u/k -> 5
			2-3 c1 put u/k a=1 -> dropped
			4-5 c1 get u/k -> 5`,
	} {
		t.Run(name, func(t *testing.T) {
			r := Check(parse(t, script), testRules)
			if err := r.Err(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// What no correct store can answer is found.
func TestBadHistories(t *testing.T) {
	for name, script := range map[string]string{
		"a session accepted after its logout": `
			0-1 c1 create u/k -> 5
			2-3 c1 end u/k -> ok
			4-5 c2 get u/k -> 5`,
		"verified after its logout": `
			0-1 c1 create u/k -> 5
			2-3 c1 end u/k -> ok
			4-5 c2 verify u/k -> ok`,
		"refused and then accepted": `
			0-1 c1 create u/k -> 5
			2-20 c1 end u/k -> ok
			4-5 c2 get u/k -> notlive
			6-7 c3 get u/k -> 5`,
		"refused, and nobody ended it": `
			0-1 c1 create u/k -> 5
			4-5 c2 get u/k -> notlive`,
		"revived by a put": `
			0-1 c1 create u/k -> 5
			2-3 c1 end u/k -> ok
			4-5 c2 put u/k a=1 -> 6`,
		"made by a put of unknown outcome": `
			0-1 c1 create u/k -> 5
			2-3 c1 end u/k -> ok
			4-5 c2 put u/k a=1 -> unknown
			6-7 c2 get u/k -> a=1 6`,
		"made twice": `
			0-1 c1 create u/k -> 5
			2-3 c1 end u/k -> ok
			4-5 c2 create u/k -> 6`,
		"ended twice": `
			0-1 c1 create u/k -> 5
			2-3 c1 end u/k -> ok
			4-5 c1 end u/k -> ok`,
		"ended by an end of unknown outcome, and revived": `
			0-1 c1 create u/k -> 5
			2-3 c1 end u/k -> unknown
			4-5 c2 get u/k -> notlive
			6-7 c2 get u/k -> 5`,
		"a lost put": `
			0-1 c1 create u/k a=0 -> 5
			2-3 c1 put u/k a=1 -> 6
			4-5 c2 get u/k -> a=0 5`,
		"a put that came and went": `
			0-1 c1 create u/k a=0 -> 5
			2-20 c1 put u/k a=1 -> 6
			4-5 c2 get u/k -> a=1 6
			6-7 c3 get u/k -> a=0 5`,
		"half a put": `
			0-1 c1 create u/k -> 5
			2-3 c1 put u/k a=1 b=1 -> 6
			4-5 c2 get u/k -> a=1 6`,
		"two of one revision that both win": `
			0-1 c1 create u/k -> 5
			2-5 c1 put u/k a=1 if=5 -> 6
			2-5 c2 put u/k a=2 if=5 -> 7`,
		"a conflict without one": `
			0-1 c1 create u/k -> 5
			2-3 c1 put u/k a=1 if=5 -> conflict`,
		"a conflicting put that took effect": `
			0-1 c1 create u/k -> 5
			2-3 c1 put u/k a=1 -> 6
			4-5 c1 put u/k a=2 if=5 -> conflict
			6-7 c1 get u/k -> a=2 7`,
		"end-all that missed one": `
			0-1 c1 create u/k -> 5
			0-1 c2 create u/l -> 6
			2-3 c3 endall u -> ok
			4-5 c1 get u/k -> notlive
			4-5 c2 get u/l -> 6`,
		"end-all in two steps": `
			0-1 c1 create u/k -> 5
			0-1 c2 create u/l -> 6
			2-20 c3 endall u -> ok
			4-5 c1 get u/k -> notlive
			6-7 c2 get u/l -> 6`,
		"end-all that counts wrong": `
			0-1 c1 create u/k -> 5
			2-3 c3 endall u -> ended=2`,
		"a value from nowhere": `
			0-1 c1 create u/k a=0 -> 5
			2-3 c1 get u/k -> a=7 5`,
		"a session from nowhere": `
			2-3 c1 get u/k -> 5`,
		"an end from nowhere": `
			0-1 c1 end u/k -> ok`,
		"a refused login that took effect": `
			0-1 c1 create u/k -> dropped
			2-3 c1 get u/k -> 5`,
		"a key that was used by nobody": `
			0-1 c1 create u/k -> used`,
		"an unknown put that took effect twice": `
			0-1 c1 create u/k a=0 -> 5
			2-3 c1 put u/k a=1 -> unknown
			4-5 c1 get u/k -> a=1 6
			6-7 c1 put u/k a=2 -> 7
			8-9 c1 get u/k -> a=1 8`,
		"an effect before its cause": `
			0-1 c1 create u/k a=0 -> 5
			2-3 c2 get u/k -> a=1 6
			4-5 c1 put u/k a=1 -> 6`,
		"the revision of another": `
			0-1 c1 create u/k -> 5
			0-1 c1 create u/l -> 6
			2-3 c1 get u/k -> 6`,
		"a revision that goes back": `
			0-1 c1 create u/k -> 5
			2-3 c1 create v/l -> 4`,
		"a revision shown, and then given again": `
			0-1 c1 create u/k -> ok
			2-3 c1 get u/k -> 9
			4-5 c1 create v/l -> 9`,
		"one revision for two": `
			0-5 c1 create u/k -> 5
			0-5 c2 create v/l -> 5`,
		"logged out although active": `
			0-1 c1 create u/k idle=60 -> 5
			30-31 c1 get u/k use -> 5
			89-89.8 c1 get u/k -> notlive`,
		"a use that was lost": `
			0-1 c1 create u/k idle=60 -> 5
			30-31 c1 put u/k a=1 -> 6
			70-71 c1 get u/k -> notlive`,
		"expired and revived": `
			0-1 c1 create u/k idle=60 -> 5
			61-62 c1 get u/k -> notlive
			63-64 c2 get u/k -> 5`,
		"idle, and still accepted": `
			0-1 c1 create u/k idle=60 -> 5
			30-31 c1 get u/k -> 5
			67-68 c1 get u/k -> 5`,
		"accepted beyond its lifetime": `
			0-1 c1 create u/k life=60 -> 5
			67-68 c1 get u/k use -> 5`,
		"dead before its lifetime is over": `
			0-1 c1 create u/k life=60 -> 5
			30-31 c1 get u/k use -> notlive`,
	} {
		t.Run(name, func(t *testing.T) {
			r := Check(parse(t, script), testRules)
			if err := r.Err(); !errors.Is(err, ErrViolation) {
				t.Fatalf("not found: %v\n%s", err, r)
			}
			for _, v := range r.Violations {
				if v.Text == "" {
					t.Errorf("%s: nothing told", v.What)
				}
			}
		})
	}
}

// A use that may have been lost with its node keeps nothing alive for certain.
func TestFirmUses(t *testing.T) {
	h := parse(t, `
		0-1 c1 create u/k idle=60 -> 5
		30-31 c2 get u/k use -> 5
		70-71 c1 get u/k -> notlive`)
	rules := testRules
	for client, want := range map[int]error{1: nil, 2: ErrViolation, 3: nil} {
		rules.Firm = func(op *Operation) bool { return op.Client == client }
		if err := Check(h, rules).Err(); !errors.Is(err, want) {
			t.Errorf("uses by client %d are firm: %v", client, err)
		}
	}
}

// A violation is told so that a person can follow it, and shown by a page.
func TestTelling(t *testing.T) {
	r := Check(parse(t, `
		0-1 c1 create u/k a=0 -> 5
		2-3 c1 put u/k a=1 if=5 -> 6
		4-5 c2 get u/k -> a=0 5`), testRules)
	text := r.Err().Error()
	for _, want := range []string{"user u", "put #0 {a=1} if at 5 → at 6", "get #0 → {a=0} at 5", "#0 is k"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in\n%s", want, text)
		}
	}
	var page bytes.Buffer
	if ok, err := r.Violations[0].Visualize(&page); err != nil || !ok || !strings.Contains(page.String(), "<html") {
		t.Errorf("page of %d bytes: %v, %v", page.Len(), ok, err)
	}
}

// What can't be judged in time is said to be so, and is no pass.
func TestUndecided(t *testing.T) {
	var script strings.Builder
	script.WriteString("0-1 c1 create u/k -> 5\n")
	for i := range 24 { // all at once, without revisions, and no order explains the last line
		fmt.Fprintf(&script, "2-3 c%d put u/k a=%d -> ok\n", i, i)
	}
	script.WriteString("4-5 c1 get u/k -> b=1\n")
	r := Check(parse(t, script.String()), Rules{Limit: 10 * time.Millisecond})
	if err := r.Err(); !errors.Is(err, ErrUndecided) {
		t.Fatalf("%v\n%v", r, err)
	}
}
