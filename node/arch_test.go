package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "cloakroom"

// floors is the floor plan: a package imports only packages of lower floors.
var floors = map[string]int{
	"node":               11,
	"httpapi":            10,
	"httpapi/console":    10,
	"httpapi/admin":      9,
	"httpapi/mmonit":     9,
	"httpapi/access":     8,
	"httpapi/exchange":   7,
	"httpapi/metrics":    6,
	"cluster":            5,
	"cluster/propose":    4,
	"cluster/lookup":     4,
	"cluster/idle":       4,
	"cluster/roster":     4,
	"cluster/tries":      4,
	"cluster/backup":     4,
	"httpapi/recheck":    3,
	"cluster/consensus":  3,
	"cluster/gossip":     3,
	"cluster/storage":    2,
	"cluster/wire":       1,
	"cluster/guard":      1,
	"cluster/watermark":  1,
	"cluster/keyring":    1,
	"cluster/histogram":  1,
	"httpapi/realm":      1,
	"httpapi/audit":      1,
	"httpapi/transport":  1,
	"httpapi/credential": 1,
	"httpapi/support":    1,
	"cluster/seed":       1,
	"cluster/session":    0,
	"cluster/lease":      0,
}

// testFloor is for tests alone: each package with what it may import besides the standard library.
var testFloor = map[string][]string{
	"cluster/clustertest":        {"github.com/hashicorp/memberlist"},
	"cluster/clustertest/mutant": {},
	"cluster/history":            {porcupine},
	"cluster/keyring/keytest":    {module + "/cluster/keyring"},
	"cluster/seed/dnstest":       {"github.com/miekg/dns"},
	"httpapi/realm/slapdtest":    {"github.com/go-ldap/ldap/v3"},
	"httpapi/transport/certtest": {},
	"cluster/lease/simulation":   {porcupine, module + "/cluster/lease"},
	"scripts/upgradesuite":       {},
	"scripts/faultsuite":         {porcupine, "golang.org/x/sys/unix", module + "/cluster/history", module + "/cluster/clustertest/mutant"},
}

const porcupine = "github.com/anishathalye/porcupine"

// sideFloor and what lies under it know the others over HTTP only.
const sideFloor = "bench"

// impure is what floor 0 must not import: it has no goroutine, lock, clock, random source or I/O. (Of time it may use
// the durations; the linters watch the clock.)
var impure = []string{"context", "crypto/rand", "io/fs", "log", "log/slog", "math/rand", "math/rand/v2", "net", "net/http", "os", "os/exec", "sync", "sync/atomic", "syscall"}

// listed is a package as `go list` describes it.
type listed struct {
	ImportPath   string
	Name         string
	Doc          string // the first sentence of the package comment
	Imports      []string
	TestImports  []string
	XTestImports []string
}

// path returns the package's folder.
func (p listed) path() string { return strings.TrimPrefix(p.ImportPath, module+"/") }

// TestFloorPlan holds every import to the floor plan.
func TestFloorPlan(t *testing.T) {
	for _, p := range listPackages(t) {
		for _, complaint := range checkFloors(p) {
			t.Error(complaint)
		}
	}
}

// TestPackageDocs wants of each package one sentence that names it.
func TestPackageDocs(t *testing.T) {
	for _, p := range listPackages(t) {
		if complaint := checkDoc(p); complaint != "" {
			t.Error(complaint)
		}
	}
}

// TestFloorPlanCatches shows the two checks above what they must not let pass.
func TestFloorPlanCatches(t *testing.T) {
	ours := func(paths ...string) []string {
		for i := range paths {
			paths[i] = module + "/" + paths[i]
		}
		return paths
	}
	wrong := map[string]listed{
		"upwards":              {ImportPath: "cloakroom/cluster/wire", Imports: ours("cluster/gossip")},
		"sideways":             {ImportPath: "cloakroom/cluster/idle", Imports: ours("cluster/lookup")},
		"a test upwards":       {ImportPath: "cloakroom/cluster/idle", TestImports: ours("cluster")},
		"test code in earnest": {ImportPath: "cloakroom/cluster", Imports: ours("cluster/clustertest")},
		"an unknown package":   {ImportPath: "cloakroom/cluster/misc"},
		"of an unknown one":    {ImportPath: "cloakroom/cluster", Imports: ours("cluster/misc")},
		"bench into ours":      {ImportPath: "cloakroom/bench/load", Imports: ours("cluster/session")},
		"ours into bench":      {ImportPath: "cloakroom/node", Imports: ours("bench/load")},
		"a clock's friend":     {ImportPath: "cloakroom/cluster/session", Imports: []string{"os"}},
		"more in test code":    {ImportPath: "cloakroom/cluster/clustertest", Imports: []string{"github.com/hashicorp/raft"}},
		"ours in test code":    {ImportPath: "cloakroom/cluster/history", Imports: ours("cluster/session")},
		"faults from inside":   {ImportPath: "cloakroom/scripts/faultsuite", Imports: ours("cluster")},
		"faults in earnest":    {ImportPath: "cloakroom/node", Imports: ours("cluster/history")},
	}
	for name, p := range wrong {
		if len(checkFloors(p)) == 0 {
			t.Errorf("%s: not noticed", name)
		}
	}
	right := listed{
		ImportPath: "cloakroom/cluster/idle",
		Imports:    append(ours("cluster/session", "cluster/wire"), "sync", "github.com/hashicorp/raft"), TestImports: ours("cluster/clustertest"),
		XTestImports: ours("cluster/idle"),
	}
	if got := checkFloors(right); len(got) > 0 {
		t.Errorf("a package in order: %q", got)
	}
	for _, p := range []listed{{Name: "main", ImportPath: "cloakroom/bench", Doc: "Package main is."}, {Name: "wire"}, {Name: "wire", Doc: "Wire owns."}, {Name: "node_util", Doc: "Package node_util owns."}} {
		if checkDoc(p) == "" {
			t.Errorf("package %s with the comment %q: not noticed", p.Name, p.Doc)
		}
	}
}

func checkFloors(p listed) []string {
	var complaints []string
	complain := func(format string, args ...any) {
		complaints = append(complaints, p.path()+": "+fmt.Sprintf(format, args...))
	}
	for _, imported := range p.Imports {
		if why := forbidden(p.path(), imported, false); why != "" {
			complain("imports %s: %s", imported, why)
		}
	}
	for _, imported := range slices.Concat(p.TestImports, p.XTestImports) {
		if imported == p.ImportPath {
			continue
		}
		if why := forbidden(p.path(), imported, true); why != "" {
			complain("its tests import %s: %s", imported, why)
		}
	}
	if _, known := floors[p.path()]; !known && !forTests(p.path()) && !onSide(p.path()) {
		complain("is not in the floor plan")
	}
	return complaints
}

// forbidden says why a package may not import another one, or "".
func forbidden(from, imported string, test bool) string {
	to, ours := strings.CutPrefix(imported, module+"/")
	floor, placed := floors[from]
	switch {
	case forTests(from) && !test && !standard(imported) && !slices.Contains(testFloor[from], imported):
		return fmt.Sprintf("besides the standard library it uses %q only", testFloor[from])
	case !ours && placed && floor == 0 && !test && slices.Contains(impure, imported):
		return "floor 0 is pure"
	case !ours:
		return ""
	case onSide(from) && onSide(to):
		return ""
	case onSide(from), onSide(to):
		return "bench and the rest know each other over HTTP only"
	case forTests(to) && (test || forTests(from)):
		return ""
	case forTests(to):
		return "only tests may"
	case forTests(from) && slices.Contains(testFloor[from], imported):
		return ""
	case forTests(from):
		return "it knows none of the others"
	}
	target, known := floors[to]
	if !known {
		return "it is not in the floor plan"
	}
	if target >= floor {
		return fmt.Sprintf("floor %d is not below floor %d", target, floor)
	}
	return ""
}

func forTests(path string) bool {
	_, ok := testFloor[path]
	return ok
}

// standard reports whether a package is of the standard library: its path begins with no host and is not ours.
func standard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return first != module && !strings.Contains(first, ".")
}

func onSide(path string) bool {
	return path == sideFloor || strings.HasPrefix(path, sideFloor+"/")
}

// noun is the shape of a package's name: one word.
var noun = regexp.MustCompile(`^[a-z][a-z0-9]*$`)

// programs are the main packages, by what they are built as.
var programs = map[string]string{"node": "cloakroom", "bench": "bench", "scripts/faultsuite": "faultsuite", "scripts/upgradesuite": "upgradesuite"}

func checkDoc(p listed) string {
	if p.Name == "main" {
		if want := "Command " + programs[p.path()] + " "; !strings.HasPrefix(p.Doc, want) {
			return fmt.Sprintf("%s: its comment begins with %q instead of %q", p.path(), p.Doc, want+"…")
		}
		return ""
	}
	switch {
	case !noun.MatchString(p.Name):
		return p.path() + ": a package is named by one noun"
	case !strings.HasPrefix(p.Doc, "Package "+p.Name+" "):
		return fmt.Sprintf("%s: its comment begins with %q instead of %q", p.path(), p.Doc, "Package "+p.Name+" …")
	}
	return ""
}

// listPackages asks `go list` for every package of the module.
func listPackages(t *testing.T) []listed {
	t.Helper()
	noteSources(t)
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Name,Doc,Imports,TestImports,XTestImports", "./...")
	cmd.Dir = ".."
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.Bytes())
	}
	var packages []listed
	decoder := json.NewDecoder(bytes.NewReader(out))
	for {
		var p listed
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("read the answer of go list: %v", err)
		}
		packages = append(packages, p)
	}
	if len(packages) < 2 {
		t.Fatalf("go list found %d packages", len(packages))
	}
	return packages
}

// noteSources looks at every Go file of the module. The go command remembers the result of a test until a file changes
// that the test looked at, and it can't see what `go list` reads.
func noteSources(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() && path != ".." && (strings.HasPrefix(name, ".") || strings.HasPrefix(name, "cloakroom-") || name == "node_modules") {
			return fs.SkipDir
		}
		if strings.HasSuffix(name, ".go") {
			_, err = os.Stat(path)
		}
		return err
	})
	if err != nil {
		t.Fatalf("look at the sources: %v", err)
	}
}
