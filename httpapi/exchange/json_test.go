package exchange

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"cloakroom/cluster/session"
)

func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"", "abc", "\"\\/\b\f\n\r\t\x00\x1f\x7f", "äöü€😀", "\xff\xfe a\xc3", "\u2028\u2029", "</script>&", "\ufffd"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		out := AppendString([]byte("x"), s)[1:]
		var back string
		if err := json.Unmarshal(out, &back); err != nil {
			t.Fatalf("%q: %v", out, err)
		}
		if want := strings.ToValidUTF8(s, "\x00"); !utf8.ValidString(s) {
			// Each invalid byte becomes one U+FFFD, as in encoding/json; ToValidUTF8 joins runs of them.
			if std, err := json.Marshal(s); err != nil || json.Unmarshal(std, &want) != nil || back != want {
				t.Fatalf("%q is read back as %q", s, back)
			}
		} else if back != s {
			t.Fatalf("%q is read back as %q", s, back)
		}
		if strings.ContainsAny(string(out), "<>&\u2028\u2029\x7f\n") {
			t.Fatalf("%q is not escaped", out)
		}
	})
}

// What is taken for plain needs no escape, and the other way round, whatever stands in whatever place.
func TestPlainJSON(t *testing.T) {
	for length := range 20 {
		for at := range length {
			for c := range 256 {
				text := []byte(strings.Repeat("x", length))
				text[at] = byte(c)
				escaped := string(appendEscaped(nil, string(text)))
				if plain := escaped == string(text)+`"` && c < utf8.RuneSelf; plainJSON(text) != plain {
					t.Fatalf("%q is plain: %t", text, !plain)
				}
				if got := string(AppendString(nil, string(text))); got != `"`+escaped {
					t.Fatalf("%q: %s, not %s", text, got, escaped)
				}
			}
		}
	}
}

func FuzzAppendTime(f *testing.F) {
	for _, ms := range []int64{0, 1, 951_782_399_999, 951_782_400_000, 1_709_164_800_000, 4_107_542_400_000, 253_402_300_799_999} {
		f.Add(ms)
	}
	f.Fuzz(func(t *testing.T, ms int64) {
		if ms < 0 || ms > 253_402_300_799_999 {
			ms = 0
		}
		want := time.UnixMilli(ms).UTC().Format(`"2006-01-02T15:04:05.000Z"`)
		if got := string(AppendTime(nil, session.Time(ms))); got != want {
			t.Fatalf("%d: %s, not %s", ms, got, want)
		}
	})
}

func TestAppendTimeEveryDay(t *testing.T) {
	for day := time.Unix(0, 0).UTC(); day.Year() < 2401; day = day.AddDate(0, 0, 1) {
		if got, want := string(AppendTime(nil, session.TimeOf(day))), day.Format(`"2006-01-02T15:04:05.000Z"`); got != want {
			t.Fatalf("%s, not %s", got, want)
		}
	}
	for _, out := range []session.Time{-1, 253_402_300_800_000, 1 << 62} {
		if got := string(AppendTime(nil, out)); got != `"1970-01-01T00:00:00.000Z"` {
			t.Errorf("%d: %s", out, got)
		}
	}
}
