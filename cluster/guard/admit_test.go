package guard

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"

	"cloakroom/cluster/session"
)

const (
	passes  = "passes"
	disk    = "refused when the disk is low"
	memory  = "refused when memory is full"
	neither = "refused by either"
)

// policy is what becomes of each kind of command.
func policy() []struct {
	name string
	cmd  session.Command
	want string
} {
	on, off, hash, roles := true, false, session.Secret("hash"), []string{"clerk"}
	attrs := []session.Attr{{Key: "k", Value: "v"}}
	return []struct {
		name string
		cmd  session.Command
		want string
	}{
		{"a cluster gets its name", &session.Genesis{}, passes},
		{"a leader proves its term", &session.Tick{}, passes},
		{"login", &session.Create{}, neither},
		{"login that replaces a session", &session.Create{Replaces: session.KeyOf([]byte("k"))}, neither},
		{"attributes", &session.Put{Attrs: attrs}, neither},
		{"no attributes", &session.Put{}, passes},
		{"attributes removed", &session.Delete{Names: []string{"k"}}, passes},
		{"logout", &session.Invalidate{Reason: session.EndedByLogout}, passes},
		{"uses", &session.Touch{Uses: make([]session.Use, 1)}, passes},
		{"idle sessions", &session.Expire{Keys: make([]session.Key, 1)}, passes},
		{"all sessions of a user", &session.EndUser{}, passes},
		{"sweep", &session.Sweep{}, passes},
		{"new user", &session.CreateUser{}, neither},
		{"first user", &session.CreateUser{First: true}, neither},
		{"user disabled", &session.UpdateUser{Disabled: &on}, passes},
		{"user disabled, roles with it", &session.UpdateUser{Disabled: &on, RoleNames: &roles}, passes},
		{"user enabled", &session.UpdateUser{Disabled: &off}, disk},
		{"new password", &session.UpdateUser{PasswordHash: &hash}, passes},
		{"roles of a user", &session.UpdateUser{RoleNames: &roles}, disk},
		{"user removed", &session.DeleteUser{}, passes},
		{"new role", &session.CreateRole{}, disk},
		{"role described", &session.UpdateRole{}, disk},
		{"role removed", &session.DeleteRole{}, passes},
		{"new realm", &session.CreateRealm{}, disk},
		{"realm changed", &session.UpdateRealm{Enabled: true}, disk},
		{"realm disabled", &session.UpdateRealm{}, passes},
		{"realm removed", &session.DeleteRealm{}, passes},
		{"member", &session.PutMember{}, passes},
		{"member gone", &session.RemoveMember{}, passes},
		{"pace", &session.Pace{}, passes},
		{"hand-over", &session.Handover{}, passes},
		{"limits", &session.SetLimits{}, passes},
		{"roles of sessions", &session.SetRoles{}, passes},
		{"every session ended", &session.EndAll{}, passes},
	}
}

func TestAdmit(t *testing.T) {
	for _, c := range policy() {
		onDisk, onMemory := c.want == disk || c.want == neither, c.want == memory || c.want == neither
		for _, state := range []struct {
			low, full bool
			want      error
		}{
			{false, false, nil},
			{true, false, when(onDisk, ErrDiskLow)},
			{false, true, when(onMemory, ErrLimitMemory)},
		} {
			if got := Admit(c.cmd, state.low, state.full); !errors.Is(got, state.want) || (got == nil) != (state.want == nil) {
				t.Errorf("%s, disk low %t, memory full %t: %v, want %v", c.name, state.low, state.full, got, state.want)
			}
		}
		if got := Admit(c.cmd, true, true); (got != nil) != (onDisk || onMemory) {
			t.Errorf("%s, little of both: %v, want that it %s", c.name, got, c.want)
		}
	}
}

func when(refused bool, err error) error {
	if refused {
		return err
	}
	return nil
}

// Every kind of command has been judged: a new one fails here until the table says what becomes of it.
func TestEveryKindIsJudged(t *testing.T) {
	judged := map[session.Kind]bool{}
	for _, c := range policy() {
		judged[c.cmd.Kind()] = true
	}
	kinds := kindsOf(t)
	for kind, name := range kinds {
		if !judged[kind] {
			t.Errorf("%s (%d): nobody has said whether it is admitted when the disk is low or memory is full", name, kind)
		}
	}
	// The numbers have no gaps, so that none of them is hidden from the search.
	for kind := session.Kind(1); int(kind) <= len(kinds); kind++ {
		if kinds[kind] == "" {
			t.Errorf("%d kinds were found, but not number %d", len(kinds), kind)
		}
	}
}

// strange is a kind that the policy has never heard of.
type strange struct{}

func (strange) Kind() session.Kind { return 255 }

// What nobody has judged is taken for something that stores.
func TestUnknownKindIsRefused(t *testing.T) {
	if err := Admit(strange{}, true, false); !errors.Is(err, ErrDiskLow) {
		t.Errorf("disk low: %v", err)
	}
	if err := Admit(strange{}, false, true); !errors.Is(err, ErrLimitMemory) {
		t.Errorf("memory full: %v", err)
	}
	if err := Admit(strange{}, false, false); err != nil {
		t.Errorf("enough of both: %v", err)
	}
}

// kindsOf reads the kinds from the source: a constant that nobody uses yet is found, too.
func kindsOf(t *testing.T) map[session.Kind]string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../session/command.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[session.Kind]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Names) != 1 || !strings.HasPrefix(spec.Names[0].Name, "Kind") {
			return true
		}
		number, ok := spec.Values[0].(*ast.BasicLit)
		if !ok {
			t.Fatalf("%s is not a plain number", spec.Names[0].Name)
		}
		value, err := strconv.ParseUint(number.Value, 10, 8)
		if err != nil {
			t.Fatal(err)
		}
		kinds[session.Kind(value)] = spec.Names[0].Name
		return true
	})
	if len(kinds) < 22 {
		t.Fatalf("only %d kinds found", len(kinds))
	}
	return kinds
}

func TestAdmitDoesNotAllocate(t *testing.T) {
	var cmd session.Command = &session.Create{}
	if n := testing.AllocsPerRun(100, func() { _ = Admit(cmd, false, false); _ = Admit(cmd, true, true) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// What a leader's merger pays for each command.
func BenchmarkAdmit(b *testing.B) {
	var cmd session.Command = &session.Create{}
	d, m := new(Disk), new(Memory)
	b.Run("enough", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := Admit(cmd, d.Low(), m.Full()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("low", func(b *testing.B) {
		d.low.Store(true)
		b.ReportAllocs()
		for b.Loop() {
			if err := Admit(cmd, d.Low(), m.Full()); err == nil {
				b.Fatal("admitted")
			}
		}
	})
}
