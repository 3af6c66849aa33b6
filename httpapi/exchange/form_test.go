package exchange

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"cloakroom/cluster/session"
)

func TestParseArgs(t *testing.T) {
	for text, want := range map[string]Args{
		"":                    nil,
		"&&":                  nil,
		"a":                   {{"a", ""}},
		"=":                   {{"", ""}},
		"a=b=c":               {{"a", "b=c"}},
		"a=1&a=2":             {{"a", "1"}, {"a", "2"}},
		"a+b=%2B+%26":         {{"a b", "+ &"}},
		"%61=%C3%A4":          {{"a", "ä"}},
		"a=%&b=%4&c=%4g&d=%%": {{"a", "%"}, {"b", "%4"}, {"c", "%4g"}, {"d", "%%"}},
		"a=%2541":             {{"a", "%41"}},
		"a;b=c":               {{"a;b", "c"}},
	} {
		got, err := ParseArgs(nil, []byte(text))
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %q, %v, want %q", text, got, err, want)
		}
	}
	if list, err := ParseArgs(nil, []byte(strings.Repeat("a&", MaxArgs))); err != nil || len(list) != MaxArgs {
		t.Errorf("as many as are allowed: %d, %v", len(list), err)
	}
	if _, err := ParseArgs(nil, []byte(strings.Repeat("a&", MaxArgs+1))); !errors.Is(err, session.ErrLimitAttributes) {
		t.Errorf("one more: %v", err)
	}
	if _, err := ParseArgs(make(Args, MaxArgs), []byte("a")); !errors.Is(err, session.ErrLimitAttributes) {
		t.Errorf("one more in the body: %v", err)
	}
}

func TestIsForm(t *testing.T) {
	for kind, want := range map[string]bool{
		"":                                  true,
		"application/x-www-form-urlencoded": true,
		"Application/X-WWW-Form-Urlencoded; charset=UTF-8": true,
		"application/json":                    false,
		"multipart/form-data; boundary=x":     false,
		"text/plain":                          false,
		"application/x-www-form-urlencoded+x": false,
	} {
		if got := IsForm([]byte(kind)); got != want {
			t.Errorf("%q: %v, want %v", kind, got, want)
		}
	}
}

// What is well formed is read as the standard library reads it; what is written by it comes back; a put's attributes
// are text without duplicates and without the CSRF token.
func FuzzParseArgs(f *testing.F) {
	f.Add("myvar1=hello&myvar2=world")
	f.Add("key=a&key=&CSRFToken=x")
	f.Add("a=%zz&b=100%&%=%")
	f.Add("a+b=%C3%A4&a+b=2;c=3")
	f.Add("\xff=\x00&%ff=%00")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := ParseArgs(nil, []byte(text))
		if err != nil {
			if strings.Count(text, "&") < MaxArgs {
				t.Errorf("refused %q: %v", text, err)
			}
			return
		}
		written := []string{}
		for _, a := range list {
			written = append(written, url.QueryEscape(a.Name)+"="+url.QueryEscape(a.Value))
		}
		again, err := ParseArgs(nil, []byte(strings.Join(written, "&")))
		if err != nil || !slices.Equal(again, list) {
			t.Errorf("%q was read as %q, then as %q, %v", text, list, again, err)
		}
		if values, err := url.ParseQuery(text); err == nil {
			for name, all := range values {
				if got := list.Last(name); got != all[len(all)-1] {
					t.Errorf("%q: last %q is %q, want %q", text, name, got, all[len(all)-1])
				}
			}
		}
		seen := map[string]bool{session.ReservedAttribute: true}
		attrs, err := list.Attributes()
		if err != nil {
			return
		}
		for _, a := range attrs {
			if seen[a.Key] || !utf8.ValidString(a.Key) || !utf8.ValidString(a.Value) || a.Value != list.Last(a.Key) {
				t.Errorf("%q: attribute %q is %q", text, a.Key, a.Value)
			}
			seen[a.Key] = true
		}
	})
}
