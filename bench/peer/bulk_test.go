package peer

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"
)

// verify answers as many tokens as it is asked about, but for one in a call when it mixes sessions up.
func (p *product) verify(ctx *fasthttp.RequestCtx) {
	var asked struct{ Tokens []string }
	if err := json.Unmarshal(ctx.PostBody(), &asked); err != nil {
		ctx.SetStatusCode(400)
		return
	}
	if p.throttle {
		ctx.SetStatusCode(429)
		return
	}
	answers := make([]string, len(asked.Tokens))
	for i, token := range asked.Tokens {
		answers[i] = fmt.Sprintf(`{"active":%v}`, p.users[token] != "" && (!p.wrong || i > 0))
	}
	p.checked += len(asked.Tokens)
	ctx.SetBodyString(`{"sessions":[` + strings.Join(answers, ",") + `]}`)
}

// Who asks about more tokens than the product lets a caller learns that that is why.
func TestThrottledCallersAreTold(t *testing.T) {
	p := &product{throttle: true}
	s := startProduct(t, p)
	all := fill(t, s, 10)
	caller, err := s.VerifyBulk(all, []string{s.maker}, 5)(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer caller.Close() //nolint:errcheck // the call is what matters
	if err := caller.Call(t.Context()); !errors.Is(err, ErrThrottled) {
		t.Errorf("%v, want %v", err, ErrThrottled)
	}
}

// A caller with a login of its own may be asked about only so much; an administrator makes as many as are wanted, and takes
// them away.
func TestCallers(t *testing.T) {
	for admin, want := range map[bool]int{true: 3, false: 1} {
		p := &product{admin: admin}
		s := startProduct(t, p)
		if err := s.Open(t.Context()); err != nil {
			t.Fatal(err)
		}
		callers, err := s.Callers(t.Context(), 3)
		if err != nil || len(callers) != want {
			t.Errorf("administrator %v: %d callers, %v; want %d", admin, len(callers), err, want)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if admin && len(p.deleted) != 3 {
			t.Errorf("%d users taken away", len(p.deleted))
		}
	}
}

func TestValuesOfRedisAreRead(t *testing.T) {
	one := "$66\r\n" + value(ValueBytes) + "\r\n"
	r := bufio.NewReader(strings.NewReader("*2\r\n" + one + one + "*1\r\n" + one))
	for _, n := range []int{2, 1} {
		if err := readValues(r, n); err != nil {
			t.Errorf("%d values: %v", n, err)
		}
	}
	for name, text := range map[string]string{
		"fewer values": "*1\r\n" + one, "a missing key": "*2\r\n" + one + "$-1\r\n", "a short value": "*2\r\n$3\r\nabc\r\n", "an error": "-ERR no\r\n",
	} {
		var wrong *wrongAnswer
		if err := readValues(bufio.NewReader(strings.NewReader(text)), 2); !errors.As(err, &wrong) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, text := range map[string]string{"nothing": "", "half": "*2\r\n$66\r\nxx", "no number": "*x\r\n"} {
		if err := readValues(bufio.NewReader(strings.NewReader(text)), 2); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
