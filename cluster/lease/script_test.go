package lease

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

var commands = map[CommandKind]string{OtherCommand: "command", TickCommand: "tick", HandoverCommand: "handover"}

// values are the key=value fields of a line. A field that is read is taken out.
type values map[string]string

func fields(words []string) values {
	v := make(values)
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		v[key] = value
	}
	return v
}

func (v values) duration(key string) time.Duration {
	text, given := v[key]
	if !given {
		return 0
	}
	delete(v, key)
	d, err := time.ParseDuration(text)
	if err != nil {
		v["bad "+key] = text
	}
	return d
}

func (v values) number(key string) uint64 {
	text, given := v[key]
	if !given {
		return 0
	}
	delete(v, key)
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		v["bad "+key] = text
	}
	return n
}

func (v values) text(key string) string {
	text := v[key]
	delete(v, key)
	return text
}

func (v values) has(key string) bool {
	_, given := v[key]
	delete(v, key)
	return given
}

// rest complains of what was not read.
func (v values) rest() error {
	if len(v) > 0 {
		return fmt.Errorf("fields left over: %v", v)
	}
	return nil
}

// parse reads an event.
func parse(name string, words []string, clock time.Duration) (Event, error) {
	v := fields(words)
	e := parseEvent(name, v, clock)
	if e == nil {
		return nil, fmt.Errorf("unknown event %q", name)
	}
	return e, v.rest()
}

func parseEvent(name string, v values, clock time.Duration) Event {
	switch name {
	case "stored":
		return Stored{Term: v.number("term")}
	case "restoring":
		return Restoring{}
	case "restored":
		return Restored{Applied: v.number("applied")}
	case "applied":
		return Applied{Index: v.number("index"), Term: v.number("term")}
	case "follows":
		return Follows{Leader: v.text("leader")}
	case "members":
		return Members{IDs: strings.Split(v.text("ids"), ",")}
	case "elected":
		return Elected{Term: v.number("term")}
	case "deposed":
		return Deposed{}
	case "committed":
		kind := OtherCommand
		for k, text := range commands {
			if v.has(text) {
				kind = k
			}
		}
		return Committed{
			Kind: kind, Term: v.number("term"), Index: v.number("index"),
			Proposed: Time(v.duration("proposed") + clock), Handed: v.has("handed"),
		}
	case "failed":
		kind := TickCommand
		if v.has("handover") {
			kind = HandoverCommand
		}
		return Failed{Kind: kind}
	case "give-back":
		return GiveBack{}
	case "want":
		return Want{Lease: !v.has("none")}
	case "hand-over":
		return HandOver{}
	case "resume":
		return Resume{}
	case "pointed":
		return Pointed{ID: v.text("id")}
	case "tick":
		return Tick{}
	}
	return nil
}

// signed returns a message as its receiver gets it.
func signed(e Event, from string) Event {
	switch e := e.(type) {
	case Report:
		e.From = from
		return e
	case Grant:
		e.From = from
		return e
	case Over:
		e.From = from
		return e
	case Recall:
		e.From = from
		return e
	case Stable:
		e.From = from
		return e
	}
	return e
}

// describe puts a message into words. Its times are of the clock of the member that it comes from or goes to.
func describe(e Event, clock time.Duration) string {
	switch e := e.(type) {
	case Report:
		text := fmt.Sprintf("report boot %s applied %d stable %d sent %v", boot(e.Boot), e.Applied, e.Stable, time.Duration(e.Sent)-clock)
		if !e.Want {
			text += " (wants none)"
		}
		return text
	case Grant:
		if e.Remaining == 0 {
			return fmt.Sprintf("no lease of term %d for %s stable %d", e.Term, boot(e.Boot), e.Stable)
		}
		return fmt.Sprintf("lease of term %d for %s remaining %v echo %v min %d stable %d",
			e.Term, boot(e.Boot), e.Remaining, time.Duration(e.Echo)-clock, e.Min, e.Stable)
	case Over:
		return "over " + boot(e.Boot)
	case Recall:
		return "recall " + boot(e.Boot)
	case Stable:
		return fmt.Sprintf("stable %d", e.Index)
	}
	return fmt.Sprintf("%+v", e)
}

func describeLease(l Lease, clock time.Duration) string {
	if l.Until == 0 {
		return fmt.Sprintf("has no lease, boot %s floor %d", boot(l.Boot), l.Floor)
	}
	return fmt.Sprintf("has a lease of term %d until %v min %d", l.Term, time.Duration(l.Until)-clock, l.Min)
}

func describeOffice(o Office) string {
	if o.Term == 0 {
		return "does not lead"
	}
	text := fmt.Sprintf("leads term %d", o.Term)
	for _, state := range []struct {
		is   bool
		name string
	}{{!o.Taken, "not taken"}, {o.Frozen, "frozen"}, {o.Handing, "handing"}, {o.Handed, "handed"}} {
		if state.is {
			text += ", " + state.name
		}
	}
	return text
}

// boot writes a boot as its process in hexadecimal (the node's number and how often it was started) and its serial.
func boot(b Boot) string { return fmt.Sprintf("%x.%d", b.Process, b.Serial) }

// letter numbers messages: a, b, … z, aa, ab, …
func letter(i int) string {
	if i < 26 {
		return string(rune('a' + i))
	}
	return letter(i/26-1) + letter(i%26)
}

// number is letter's inverse.
func number(letters string) int {
	n := 0
	for _, r := range letters {
		if r < 'a' || r > 'z' {
			return -1
		}
		n = n*26 + int(r-'a') + 1
	}
	return n - 1
}
