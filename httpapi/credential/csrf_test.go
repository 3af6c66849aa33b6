package credential

import (
	"strings"
	"testing"
)

func TestCSRFTokenGolden(t *testing.T) {
	const text = "00112233-4455-6677-8899-aabbccddeeff"
	const want = "2f1118a022c661c45b38703a3ca18c0b" // computed by other means
	if got := CSRFToken([]byte(text)); got != want {
		t.Errorf("CSRF token %s, want %s", got, want)
	}
	if got := CSRFToken([]byte(strings.ToUpper(text))); got != want {
		t.Errorf("another spelling of the token has CSRF token %s", got)
	}
	key, ok := Parse([]byte(text))
	if !ok {
		t.Fatal("not a token")
	}
	if CSRFToken([]byte(text)) == key.String() || CSRFToken([]byte(key.String())) == want {
		t.Error("the CSRF token can be had from the public handle")
	}
}
