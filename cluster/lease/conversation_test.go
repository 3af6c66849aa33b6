package lease

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write what the conversations cause anew")

// TestConversations plays each script in testdata: events at nodes, and under each, indented, the actions that it must
// cause and what it must change of the node's state.
//
//	node n1 clock=5s            a node starts, its clock 5 s ahead of the script's time; start=1 if it did before
//	10ms n1 elected term=1      an event: its time, where, what. Fields may be left out where zero will do
//	20ms deliver a b            messages by the letters that they were given when they were sent, as often as one likes
//	25ms stop n2                ends a node
//	30ms pass                   lets time pass up to there: nodes take the ticks that are due
//	35ms ask n1 serving n2      what the node answers: office, lease, point, serving ID, holders
//
// Times of nodes are given in the script's time, whatever their clocks show.
func TestConversations(t *testing.T) {
	scripts, err := filepath.Glob(filepath.Join("testdata", "*.txt"))
	if err != nil || len(scripts) < 12 {
		t.Fatalf("scripts: %q, %v", scripts, err)
	}
	for _, path := range scripts {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			script, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			played := play(t, string(script))
			if *update {
				if err := os.WriteFile(path, []byte(played), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			compare(t, string(script), played)
		})
	}
}

// compare reports the first line that differs.
func compare(t *testing.T, want, got string) {
	t.Helper()
	wants, gots := strings.Split(want, "\n"), strings.Split(got, "\n")
	for i := range max(len(wants), len(gots)) {
		var w, g string
		if i < len(wants) {
			w = wants[i]
		}
		if i < len(gots) {
			g = gots[i]
		}
		if w != g {
			t.Fatalf("line %d:\nwant %q\ngot  %q", i+1, w, g)
		}
	}
}

// stage is where a script is played.
type stage struct {
	t     *testing.T
	out   bytes.Buffer
	order []string
	nodes map[string]*actor
	mail  []mail
	now   time.Duration
}

// actor is a node on the stage.
type actor struct {
	name   string
	clock  time.Duration // ahead of the script's
	m      *Machine
	lease  Lease
	stable uint64
	office Office
}

type mail struct {
	from, to string
	message  Event
}

func play(t *testing.T, script string) string {
	t.Helper()
	s := &stage{t: t, nodes: make(map[string]*actor)}
	for i, line := range strings.Split(strings.TrimRight(script, "\n"), "\n") {
		if strings.HasPrefix(line, " ") {
			continue // what an event has caused is written anew
		}
		fmt.Fprintln(&s.out, line)
		if words := strings.Fields(line); len(words) > 0 && words[0] != "#" {
			if err := s.line(words); err != nil {
				t.Errorf("line %d: %s: %v", i+1, line, err)
			}
		}
	}
	return s.out.String()
}

func (s *stage) line(words []string) error {
	if words[0] == "node" {
		return s.start(words[1], words[2:])
	}
	at, err := time.ParseDuration(words[0])
	if err != nil {
		return err
	}
	if at < s.now {
		return fmt.Errorf("before %v", s.now)
	}
	if words[1] == "pass" {
		s.pass(at)
		return nil
	}
	s.now = at
	switch words[1] {
	case "deliver":
		return s.deliver(words[2:])
	case "stop":
		s.order = slices.DeleteFunc(s.order, func(name string) bool { return name == words[2] })
		return nil
	case "ask":
		return s.ask(words[2], words[3:])
	}
	node := s.nodes[words[1]]
	if node == nil {
		return fmt.Errorf("no node %s", words[1])
	}
	event, err := parse(words[2], words[3:], node.clock)
	if err != nil {
		return err
	}
	s.step(node, event)
	return nil
}

func (s *stage) start(name string, words []string) error {
	f := fields(words)
	clock := f.duration("clock")
	cfg := Config{Self: name, Duration: time.Second, Rate: 10, Margin: 20 * time.Millisecond, MaxLag: 100}
	if _, given := f["lag"]; given {
		cfg.MaxLag = f.number("lag")
	}
	if !slices.Contains(s.order, name) {
		s.order = append(s.order, name)
	}
	digit, err := strconv.ParseUint(name[1:], 10, 8)
	if err != nil {
		return err
	}
	process := digit*16 + f.number("start")
	s.nodes[name] = &actor{name: name, clock: clock, m: New(cfg, process, Time(s.now+clock))}
	s.nodes[name].lease = s.nodes[name].m.Lease()
	return f.rest()
}

func (s *stage) deliver(letters []string) error {
	for _, letter := range letters {
		i := number(letter)
		if i < 0 || i >= len(s.mail) {
			return fmt.Errorf("no message %s", letter)
		}
		s.step(s.nodes[s.mail[i].to], signed(s.mail[i].message, s.mail[i].from))
	}
	return nil
}

// pass steps the ticks that are due up to a moment.
func (s *stage) pass(until time.Duration) {
	for {
		var next *actor
		due := until
		for _, name := range s.order {
			node := s.nodes[name]
			if at := node.m.Next(); at != Never && time.Duration(at)-node.clock <= due && (next == nil || time.Duration(at)-node.clock < due) {
				next, due = node, time.Duration(at)-node.clock
			}
		}
		if next == nil {
			s.now = until
			return
		}
		s.now = due
		fmt.Fprintf(&s.out, "  @ %v %s\n", due, next.name)
		s.step(next, Tick{})
		if after := time.Duration(next.m.Next()) - next.clock; after <= due {
			s.t.Fatalf("%s: the tick at %v is followed by one at %v", next.name, due, after)
		}
	}
}

// step lets a node take an event, and writes what that causes.
func (s *stage) step(node *actor, e Event) {
	for _, action := range node.m.Step(Time(s.now+node.clock), e) {
		switch a := action.(type) {
		case Propose:
			fmt.Fprintf(&s.out, "    %s proposes a %s of term %d\n", node.name, commands[a.Kind], a.Term)
		case Send:
			to, known := s.nodes[a.To]
			if !known {
				s.t.Fatalf("message to nobody: %q", a.To)
			}
			clock := node.clock
			if _, grant := a.Message.(Grant); grant {
				clock = to.clock
			}
			fmt.Fprintf(&s.out, "    %s > %s  %s: %s\n", node.name, a.To, letter(len(s.mail)), describe(a.Message, clock))
			s.mail = append(s.mail, mail{node.name, a.To, a.Message})
		}
	}
	s.changes(node)
}

// changes writes what has become different.
func (s *stage) changes(node *actor) {
	lease, stable, office := node.m.Lease(), node.m.Stable(), node.m.Office(Time(s.now+node.clock))
	if lease != node.lease {
		fmt.Fprintf(&s.out, "    %s %s\n", node.name, describeLease(lease, node.clock))
	}
	if stable != node.stable {
		fmt.Fprintf(&s.out, "    %s knows that %d is stable\n", node.name, stable)
	}
	if office != node.office {
		fmt.Fprintf(&s.out, "    %s %s\n", node.name, describeOffice(office))
	}
	node.lease, node.stable, node.office = lease, stable, office
}

func (s *stage) ask(name string, words []string) error {
	node := s.nodes[name]
	if node == nil || len(words) == 0 {
		return fmt.Errorf("ask whom for what?")
	}
	now := Time(s.now + node.clock)
	var answer string
	switch words[0] {
	case "office":
		answer = describeOffice(node.m.Office(now))
	case "lease":
		answer = describeLease(node.m.Lease(), node.clock)
	case "point":
		index, ok := node.m.Point(now)
		answer = fmt.Sprintf("point %d %t", index, ok)
	case "holders":
		answer = fmt.Sprintf("holders %d", node.m.Holders(now))
	case "serving":
		until, ok := node.m.Serving(words[1], now)
		answer = "does not lead"
		if ok {
			answer = fmt.Sprintf("%s until %v", words[1], time.Duration(until)-node.clock)
		}
	default:
		return fmt.Errorf("unknown question %q", words[0])
	}
	fmt.Fprintf(&s.out, "    %s\n", answer)
	return nil
}
