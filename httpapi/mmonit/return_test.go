package mmonit

import (
	"net/url"
	"strings"
	"testing"
)

func TestValidReturnURL(t *testing.T) {
	for text, want := range map[string]bool{
		"/":                                  true,
		"/index.csp":                         true,
		"/a/b?c=d&e=%2F%2Fx#f":               true,
		"/@evil.example":                     true, // a path on this host
		"":                                   false,
		"index.csp":                          false,
		"//evil.example":                     false,
		"///evil.example":                    false,
		`/\evil.example`:                     false,
		`\/evil.example`:                     false,
		"/x//evil.example":                   false,
		`/x\y`:                               false,
		"/\t/evil.example":                   false,
		"/\n/evil.example":                   false,
		"/\r\nX: y":                          false,
		"/\x00":                              false,
		"/\x7f":                              false,
		"/a b":                               false,
		"/ä":                                 false,
		" /a":                                false,
		"https://evil.example":               false,
		"javascript:alert(1)":                false,
		"/" + strings.Repeat("a", 1023):      true,
		"/" + strings.Repeat("a", 1024):      false,
		"/a?to=https://evil.example/%0d%0ax": false,
	} {
		if got := ValidReturnURL(text); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

// Whatever is accepted leads to this host, by the standard library's reading and by a browser's, which drops tabs and
// line breaks and takes a backslash for a slash (URL standard, 4.4).
func FuzzValidReturnURL(f *testing.F) {
	for _, text := range []string{"/index.csp", "//evil.example", `/\evil.example`, "/\t/evil.example", "/a?b#c", "https:/evil.example", "/%2f%2fx"} {
		f.Add(text)
	}
	base, err := url.Parse("https://cloak.example/index.csp")
	if err != nil {
		f.Fatal(err)
	}
	browser := strings.NewReplacer("\t", "", "\n", "", "\r", "", `\`, "/")
	f.Fuzz(func(t *testing.T, text string) {
		if where := returnOrigins(nil).afterLogin(text); where != text && where != IndexPath {
			t.Errorf("%q leads to %q", text, where)
		}
		if !ValidReturnURL(text) {
			return
		}
		if read := strings.TrimSpace(browser.Replace(text)); read != text || !strings.HasPrefix(read, "/") || strings.HasPrefix(read, "//") {
			t.Errorf("a browser reads %q as %q", text, read)
		}
		if u, err := base.Parse(text); err == nil && (u.Host != base.Host || u.Scheme != base.Scheme) {
			t.Errorf("%q leads to %s", text, u)
		}
	})
}
