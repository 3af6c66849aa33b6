package support

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cloakroom/cluster/clustertest"
)

func part(name string, take func(context.Context, io.Writer) error) Part {
	return Part{Name: name, Holds: "what " + name + " says", Take: take}
}

func writes(text string) func(context.Context, io.Writer) error {
	return func(_ context.Context, w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	}
}

// entry returns what the manifest says of a part.
func entry(t *testing.T, m *Manifest, name string) Entry {
	t.Helper()
	for _, e := range m.Parts {
		if e.Name == name {
			return e
		}
	}
	t.Fatalf("%s is not in the manifest %+v", name, m)
	return Entry{}
}

// TestPartsThatCannotBeHad: one part that fails, panics or hangs keeps no other one out.
func TestPartsThatCannotBeHad(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		freed := make(chan struct{})
		b := New(About{Node: "n1", Program: "v1", Personal: "none"}, []Part{
			part("hangs", func(context.Context, io.Writer) error { <-freed; return nil }),
			part("patient", func(ctx context.Context, w io.Writer) error {
				<-ctx.Done()
				return errors.Join(writes("so far")(ctx, w), errors.New("no leader"))
			}),
			part("panics", func(context.Context, io.Writer) error { panic("a secret") }),
			part("good", writes("all is well")),
		})
		begun := time.Now()
		raw, err := b.Make(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took > PartTimeout+time.Second {
			t.Errorf("took %v", took)
		}
		m, files, err := Read(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string]struct {
			error string
			bytes int
		}{
			"hangs": {errHangs.Error(), 0}, "patient": {"no leader", 6}, "panics": {errBroken.Error(), 0}, "good": {"", 11},
		} {
			if e := entry(t, m, name); e.Error != want.error || e.Bytes != want.bytes || len(files[name]) != want.bytes {
				t.Errorf("%+v with %d bytes, want %+v", e, len(files[name]), want)
			}
		}
		if string(files["good"]) != "all is well" || m.Node != "n1" || m.Program != "v1" || m.Personal != "none" || len(m.Missing()) != 3 {
			t.Errorf("%+v", m)
		}

		if raw, err = b.Make(t.Context()); err != nil {
			t.Fatal(err)
		}
		if m, _, err = Read(bytes.NewReader(raw)); err != nil || entry(t, m, "hangs").Error != errStill.Error() || entry(t, m, "patient").Error != "no leader" {
			t.Errorf("%v, %+v", err, m)
		}
		close(freed)
		synctest.Wait()
		if raw, err = b.Make(t.Context()); err != nil {
			t.Fatal(err)
		}
		if m, _, err = Read(bytes.NewReader(raw)); err != nil || entry(t, m, "hangs").Error != "" {
			t.Errorf("%v, %+v", err, m)
		}
	})
}

// TestBundleIsBounded: a part that is too long is cut, and so are those that fit one by one and are too much together.
func TestBundleIsBounded(t *testing.T) {
	clustertest.Bubble(t, testBundleIsBounded) // a part has its time, which does not go by here
}

func testBundleIsBounded(t *testing.T) {
	parts := []Part{part("long", writes(strings.Repeat("x", MaxPart+1)))}
	for i := range MaxBundle/MaxPart + 1 {
		parts = append(parts, part(fmt.Sprint(i), writes(strings.Repeat("x", MaxPart-1))))
	}
	raw, err := New(About{}, parts).Make(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	m, files, err := Read(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	size := 0
	for _, e := range m.Parts {
		size += len(files[e.Name])
	}
	if e := entry(t, m, "long"); size != MaxBundle || e.Bytes != MaxPart || !e.Cut || len(m.Missing()) != 3 {
		t.Errorf("%d bytes, %+v, %+v", size, e, m.Missing())
	}
}

// TestBundleIsWhole: one that was cut off or changed anywhere is refused.
func TestBundleIsWhole(t *testing.T) {
	clustertest.Bubble(t, testBundleIsWhole)
}

func testBundleIsWhole(t *testing.T) {
	raw, err := New(About{Node: "n1"}, []Part{part("one", writes("1")), part("two", writes("22"))}).Make(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for n := range raw {
		if _, _, err := Read(bytes.NewReader(raw[:n])); !errors.Is(err, ErrNotWhole) {
			t.Errorf("the first %d of %d bytes: %v", n, len(raw), err)
		}
	}
	_, want, err := Read(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	for n := range raw {
		damaged := bytes.Clone(raw)
		damaged[n] ^= 0x40
		_, files, err := Read(bytes.NewReader(damaged))
		switch {
		case errors.Is(err, ErrNotWhole):
			refused++
		case !reflect.DeepEqual(files, want): // a run of zeros may be copied from elsewhere in it
			t.Errorf("with another byte %d: %v", n, err)
		}
	}
	if refused < len(raw)/2 {
		t.Errorf("%d of %d are refused", refused, len(raw))
	}
}

func logOf(t *testing.T, r *Ring) string {
	t.Helper()
	var text bytes.Buffer
	if err := r.Part().Take(t.Context(), &text); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

// TestRingNamesNobody: users and sessions are hidden, and lines about single connections are left out at any level.
func TestRingNamesNobody(t *testing.T) {
	t.Parallel()
	r, level := new(Ring), new(slog.LevelVar)
	level.Set(slog.LevelDebug)
	log := slog.New(r.Handler(level)).With("node", "n1")
	log.Debug("connection", "event", "GET /api/session")
	log.Info("made", "user", "ann", "handle", "00ff", "by", "bob@native", "example", "carol", "error", errors.New("kept"))
	log.Warn("set", "by", time.Minute)
	level.Set(slog.LevelWarn)
	log.Info("not at this level")
	text := logOf(t, r)
	if strings.Contains(text, "connection") || strings.Contains(text, "not at this level") || strings.Count(text, "\n") != 2 ||
		!strings.Contains(text, "user=<hidden> handle=<hidden> by=<hidden> example=<hidden> error=kept\n") || !strings.Contains(text, "by=1m0s") {
		t.Error(text)
	}
}

// TestRingIsBounded: the newest lines are kept, whole but for those that are too long.
func TestRingIsBounded(t *testing.T) {
	t.Parallel()
	r := new(Ring)
	log := slog.New(r.Handler(slog.LevelInfo))
	log.Info("first")
	log.Info(strings.Repeat("y", 2*MaxLine))
	if text := logOf(t, r); len(text) > MaxLine+200 || !strings.HasSuffix(text, "y [cut]\n") || !strings.Contains(text, "msg=first") {
		t.Errorf("%d bytes", len(text))
	}
	for i := range 5000 {
		log.Info(strings.Repeat("x", 100), "number", i)
	}
	text := logOf(t, r)
	if len(text) > MaxLog+100 || len(text) < MaxLog-1000 || !strings.HasSuffix(text, "number=4999\n") || !strings.HasPrefix(text, "(") ||
		strings.Contains(text, "msg=first") {
		t.Errorf("%d bytes, from %.100q", len(text), text)
	}
}
