package credential

import (
	"bufio"
	"fmt"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"
)

func TestCookieOfOwnSurface(t *testing.T) {
	one, two := Mint(), Mint()
	names := NamesOf(false)
	c := names.ScanLines([]byte("id=" + one.Text + "; zsessionid=" + two.Text))
	for own, want := range map[Surface]Token{Fusion: one, MMonit: two} {
		v, err := c.Of(own)
		if err != nil || v.Key != want.Key || string(v.Text) != want.Text || v.Of != own {
			t.Errorf("surface %d: %v, %+v", own, err, v)
		}
	}
}

func FuzzScanCookies(f *testing.F) {
	f.Add(`id=840a33d4-b650-49f2-87a4-85412e99b37c; zsessionid="x";;Path=/`)
	f.Add(`=;==;id;id=;id==`)
	names := NamesOf(false)
	f.Fuzz(func(t *testing.T, line string) {
		var h fasthttp.RequestHeader
		raw := "GET / HTTP/1.1\r\nHost: x\r\nCookie: " + line + "\r\n\r\n"
		if h.Read(bufio.NewReader(strings.NewReader(raw))) != nil {
			t.Skip("not HTTP")
		}
		c := names.Scan(&h)
		for _, own := range []Surface{Fusion, MMonit} {
			v, err := c.Of(own)
			if (err == nil) != (v.OK && !v.Conflict) {
				t.Fatalf("of: %v with %+v", err, v)
			}
			if err != nil {
				continue
			}
			if key, ok := Parse(v.Text); !ok || key != v.Key || !strings.Contains(line, string(v.Text)) {
				t.Fatalf("%+v is not in %q", v, line)
			}
		}
	})
}

// browserCookies is what a browser sends to a host with other applications on it.
const browserCookies = "_ga=GA1.1.1234567890.1700000000; theme=dark; lang=en; id=%s; _gid=GA1.1.987654321.1700000000"

// To find a token among cookies, and its key, takes no allocation.
func TestCookiesDoNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	names, tok := NamesOf(false), Mint()
	line := fmt.Appendf(nil, browserCookies, tok.Text)
	if n := testing.AllocsPerRun(200, func() {
		c := names.ScanLines(line)
		if v, err := c.Of(Fusion); err != nil || v.Key != tok.Key {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkCookies(b *testing.B) {
	names, tok := NamesOf(false), Mint()
	line := fmt.Appendf(nil, browserCookies, tok.Text)
	b.ReportAllocs()
	for b.Loop() {
		if c := names.ScanLines(line); c.Fusion.Key != tok.Key {
			b.Fatal("another key")
		}
	}
}
