package cluster_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// requests are all kinds of requests between nodes: the number of each, which is never used for another, and where what it
// carries is frozen. A file is of that package's testdata/golden; other words say why none is needed.
var requests = map[string]struct {
	number int
	frozen string
}{
	"propose.KindBatch":    {1, "batch-v1.hex outcomes-v1.hex refusal-v1.hex"},
	"lookup.KindReadIndex": {16, "an index in 8 bytes: TestFrozenIndexes"},
	"lookup.KindTerm":      {17, "a term in 8 bytes: TestFrozenIndexes"},
	"lookup.KindReport":    {18, "report-v1.hex grant-v1.hex"},
	"lookup.KindPoint":     {19, "question-v1.hex point-v1.hex"},
	"lookup.KindOver":      {20, "boot-v1.hex"},
	"lookup.KindRecall":    {21, "boot-v1.hex"},
	"lookup.KindStable":    {22, "stable-v1.hex"},
	"roster.KindAnnounce":  {32, "announcement-v1.hex welcome-v1.hex welcome-elsewhere-v1.hex"},
	"roster.KindLeave":     {33, "nothing"},
	"roster.KindPromise":   {34, "proposal-v1.hex"},
	"roster.KindRelease":   {35, "proposal-v1.hex"},
	"roster.KindLock":      {36, "proposal-v1.hex"},
	"roster.KindConfirm":   {37, "proposal-v1.hex"},
	"roster.KindHere":      {38, "nothing"},
	"roster.KindHealth":    {39, "condition-v1.hex"},
	"roster.KindChange":    {40, "change-v1.hex"},
	"roster.KindDismiss":   {41, "nothing"},
	"idle.KindTime":        {48, "a byte, and a time in 10: TestFrozenTimes"},
	"idle.KindWall":        {49, "a byte, and a time in 10: TestFrozenTimes"},
	"idle.KindTouch":       {50, "touch.hex index.hex"},
	"idle.KindAsk":         {51, "ask.hex answer.hex"},
	"idle.KindGrey":        {52, "grey.hex verdicts.hex"},
	"cluster.kindStatus":   {64, "an index in 8 bytes: TestMixedIndexes"},
	"tries.KindReserve":    {65, "reserve-v1.hex decision-v1.hex"},
	"tries.KindForgive":    {66, "forgive-v1.hex"},
}

var kindLine = regexp.MustCompile(`(?m)^\s*(?:const\s+)?([kK]ind\w+)\s+wire\.Kind\s+=\s+(\d+)`)

// Nodes of different builds talk by these requests: whoever adds one, freezes what it carries.
func TestRequestsAreFrozen(t *testing.T) {
	found := map[string]int{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		pkg := filepath.Base(filepath.Dir(path))
		if pkg == "." {
			pkg = "cluster"
		}
		for _, m := range kindLine.FindAllStringSubmatch(string(text), -1) {
			if found[pkg+"."+m[1]], err = strconv.Atoi(m[2]); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, number := range found {
		r, known := requests[name]
		switch {
		case !known:
			t.Errorf("%s is not frozen", name)
		case r.number != number:
			t.Errorf("%s is %d, was %d", name, number, r.number)
		}
	}
	for name, r := range requests {
		if _, there := found[name]; !there {
			t.Errorf("%s is gone, and older nodes ask", name)
		}
		pkg, _, _ := strings.Cut(name, ".")
		for word := range strings.FieldsSeq(r.frozen) {
			if !strings.HasSuffix(word, ".hex") {
				continue
			}
			if _, err := os.Stat(filepath.Join(pkg, "testdata", "golden", word)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}
