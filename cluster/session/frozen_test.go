package session

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The files under testdata/frozen are logs of every version, with what each entry must answer and the hash of the
// state that it must lead to, and a snapshot from the midst of each. They hold the meaning of commands, where the golden
// files hold their bytes: nodes of different builds apply one log, and must come to one state. So these files never
// change. Whoever changes what a command does gives it a new version, keeps what the old one did, and adds a log.

func frozenFile(name string) string { return filepath.Join("testdata", "frozen", name) }

// frozenEntry is one entry of a frozen log.
type frozenEntry struct {
	entry   *Entry
	results string
	state   string
}

func TestFrozenLog(t *testing.T) {
	for version := 1; version <= MaxVersion; version++ {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			if *update {
				s, _ := story(t, version)
				addMissing(t, frozenFile(fmt.Sprintf("log-%d.txt", version)), frozenText(t, s.log))
			}
			log := readFrozenLog(t, version)
			m := New()
			replay(t, m, log)
			checkWhole(t, m, log, version)
		})
	}
}

// A frozen snapshot must be restored to the very state, be written again as it is, and go on as if it had been there
// from the start.
func TestFrozenSnapshot(t *testing.T) {
	for version := 1; version <= MaxVersion; version++ {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			file := frozenFile(fmt.Sprintf("snapshot-%d.hex", version))
			log := readFrozenLog(t, version)
			if *update {
				_, mark := story(t, version)
				m := New()
				replay(t, m, log[:mark])
				addMissing(t, file, hexLines(snapshotOf(t, m)))
			}
			frozen := readHex(t, file)
			// Version 3 of the commands has nothing to add to a snapshot.
			if got, want := headOf(t, frozen), [...]uint64{1: 1, 2: 2, 3: 2, 4: 3}[version]; got != want {
				t.Fatalf("it is of version %d, want %d", got, want)
			}
			m, err := Restore(bytes.NewReader(frozen))
			if err != nil {
				t.Fatal(err)
			}
			at := m.Applied()
			if at == 0 || at >= uint64(len(log)) {
				t.Fatalf("it is of entry %d of %d", at, len(log))
			}
			if got := stateOf(m); got != log[at-1].state {
				t.Fatalf("entry %d: state %s, want %s", at, got, log[at-1].state)
			}
			if !bytes.Equal(snapshotOf(t, m), frozen) {
				t.Error("it is written again as another one")
			}
			if st := m.Stats(); st.Sessions < 3 || st.Users < 3 || st.Tombstones < 3 || st.AttributeBytes == 0 ||
				m.store.sweeps.len() < 3 || len(m.Members()) < 2 {
				t.Errorf("too little is in it to freeze anything: %+v", st)
			}
			replay(t, m, log[at:])
		})
	}
}

// replay applies entries and compares what they do with what is frozen.
func replay(t *testing.T, m *Machine, log []frozenEntry) {
	t.Helper()
	for _, e := range log {
		at := m.Applied() + 1
		if got := resultsText(m.Apply(at, e.entry)); got != e.results {
			t.Fatalf("entry %d, %s:\ngot  %s\nwant %s", at, commandsText(e.entry), got, e.results)
		}
		if got := stateOf(m); got != e.state {
			t.Fatalf("entry %d, %s: it leads to another state than it did", at, commandsText(e.entry))
		}
	}
}

func stateOf(m *Machine) string {
	h := m.Hash()
	return hex.EncodeToString(h[:])
}

func commandsText(e *Entry) string {
	var text []string
	for _, c := range e.Commands {
		text = append(text, strings.TrimPrefix(fmt.Sprintf("%T", c), "*session."))
	}
	return strings.Join(text, " ")
}

// resultsText shows everything but the error messages, which may be put in better words.
func resultsText(results []Result) string {
	var text []string
	for _, r := range results {
		switch {
		case r.Err != nil:
			text = append(text, r.Err.Code)
		default:
			text = append(text, strings.TrimSuffix(fmt.Sprintf("%d/%d/%v", r.Rev, r.Ended, r.More), "/false"))
		}
	}
	return strings.Join(text, " ")
}

func frozenText(t *testing.T, entries []*Entry) string {
	t.Helper()
	var text strings.Builder
	m := New()
	for i, e := range entries {
		b, err := EncodeEntry(nil, e)
		if err != nil {
			t.Fatal(err)
		}
		results := m.Apply(uint64(i+1), e)
		fmt.Fprintf(&text, "entry %x\nresults %s\nstate %s\n", b, resultsText(results), stateOf(m))
	}
	return text.String()
}

func readFrozenLog(t *testing.T, version int) []frozenEntry {
	t.Helper()
	text, err := os.ReadFile(frozenFile(fmt.Sprintf("log-%d.txt", version)))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	if len(lines)%3 != 0 {
		t.Fatalf("%d lines", len(lines))
	}
	var log []frozenEntry
	for i := 0; i < len(lines); i += 3 {
		entry, ok1 := strings.CutPrefix(lines[i], "entry ")
		results, ok2 := strings.CutPrefix(lines[i+1], "results ")
		state, ok3 := strings.CutPrefix(lines[i+2], "state ")
		b, err := hex.DecodeString(entry)
		if err != nil || !ok1 || !ok2 || !ok3 {
			t.Fatalf("line %d: not an entry, its results and its state: %v", i+1, err)
		}
		e, err := DecodeEntry(b)
		if err != nil {
			t.Fatalf("line %d: %v", i+1, err)
		}
		if again, err := EncodeEntry(nil, e); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("line %d: encoded again as %x (%v)", i+1, again, err)
		}
		log = append(log, frozenEntry{entry: e, results: results, state: state})
	}
	return log
}

// checkWhole guards the log itself: it must have every command of its version, carried out and, where it can be,
// refused for every reason there is, or it would freeze nothing.
func checkWhole(t *testing.T, m *Machine, log []frozenEntry, version int) {
	t.Helper()
	done, seen := map[Kind]bool{}, map[string]bool{}
	newest := uint8(1)
	for _, e := range log {
		for i, result := range strings.Split(e.results, " ") {
			c := e.entry.Commands[i]
			newest = max(newest, VersionOf(c))
			seen[result] = true
			if result[0] >= '0' && result[0] <= '9' {
				done[c.Kind()] = true
			}
		}
	}
	if int(newest) != version {
		t.Errorf("a command of version %d in a log of version %d", newest, version)
	}
	for kind := range uint64(256) {
		if c := newCommand(kind); c != nil && int(VersionOf(c)) <= version && !done[Kind(kind)] {
			t.Errorf("no command of kind %d was carried out", kind)
		}
	}
	reasons := Reason(reasonCountV3)
	if version >= 4 {
		reasons = reasonCount
	}
	for r := EndedByLogout; r < reasons; r++ {
		if m.Stats().Ended[r] == 0 {
			t.Errorf("no session ended by %s", r)
		}
	}
	if m.Modern() != (version >= 4) {
		t.Errorf("modern: %v", m.Modern())
	}
	wanted := []*Error{
		ErrSessionInvalid, ErrSessionIdle, ErrKeyUsed, ErrTooLate, ErrRevisionMoved, ErrConflict, ErrPrivilegedUser,
		ErrBadUserName, ErrUserExists, ErrUserNotFound, ErrUserDisabled, ErrNotFirstUser, ErrLastAdmin,
		ErrBadRoleName, ErrRoleExists, ErrRoleNotFound, ErrRoleInUse, ErrRoleBuiltIn,
		ErrBadRealmName, ErrRealmExists, ErrRealmNotFound, ErrRealmDisabled, ErrRealmInUse, ErrRealmBuiltIn,
		ErrLimitAttributeKey, ErrLimitAttributeValue, ErrLimitAttributes, ErrLimitSessionBytes, ErrLimitRoles,
		ErrLimitRealmConfig, ErrLimitDescription, ErrReservedAttribute, ErrBadCommand, ErrOtherCluster,
	}
	if version >= 4 {
		wanted = append(wanted, ErrBadLimits, ErrLimitUserSessions, ErrLimitSessions)
	}
	for _, want := range wanted {
		if !seen[want.Code] {
			t.Errorf("nothing was refused as %s", want.Code)
		}
	}
}

// Numbers that Apply goes by. Nodes of different builds must agree about each: another value is another meaning of the
// commands, and needs a new version as much as other code does. The frozen logs are too short to reach all of them.
func TestFrozenLimits(t *testing.T) {
	for name, n := range map[string][2]int64{
		"MaxAttributeKey":        {MaxAttributeKey, 128},
		"MaxAttributeValue":      {MaxAttributeValue, 4096},
		"MaxAttributes":          {MaxAttributes, 64},
		"MaxSessionBytes":        {MaxSessionBytes, 16384},
		"DefaultSessionsPerUser": {DefaultSessionsPerUser, 100},
		"MaxSessionsPerUser":     {MaxSessionsPerUser, 1000},
		"MaxSessions":            {MaxSessions, 1 << 30},
		"MaxBy":                  {MaxBy, 320},
		"maxTombstones":          {maxTombstones, 1 << 20},
		"WhyLife":                {int64(WhyLife), int64(time.Hour)},
		"reasonCountV3":          {reasonCountV3, 9},
		"reasonCount":            {reasonCount, 15},
		"MaxName":                {MaxName, 128},
		"MaxDescription":         {MaxDescription, 1024},
		"MaxRoles":               {MaxRoles, 64},
		"MaxRealmConfig":         {MaxRealmConfig, 16384},
		"MaxAgent":               {MaxAgent, 256},
		"MaxAddress":             {MaxAddress, 64},
		"MaxTouches":             {MaxTouches, 1024},
		"MaxExpire":              {MaxExpire, 1024},
		"MaxSweep":               {MaxSweep, 1024},
		"maxSweepScan":           {maxSweepScan, 4096},
		"maxPrune":               {maxPrune, 4096},
		"MaxID":                  {MaxID, 64},
		"MaxPasswordHash":        {MaxPasswordHash, 512},
		"MaxMemberAddress":       {MaxMemberAddress, 255},
		"maxRecord":              {maxRecord, 65536},
		"MaxTime":                {int64(MaxTime), 253402300799999},
		"TombstoneLife":          {int64(TombstoneLife), int64(10 * time.Minute)},
		"IdleGrace":              {int64(IdleGrace), int64(3 * time.Minute)},
		"MaxGranularity":         {int64(MaxGranularity), int64(2 * time.Minute)},
		"TouchSlack":             {int64(TouchSlack), int64(2 * time.Second)},
		"MaxPace":                {int64(MaxPace), int64(24 * time.Hour)},
	} {
		if n[0] != n[1] {
			t.Errorf("%s is %d, was %d", name, n[0], n[1])
		}
	}
}
