package httpapi

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"cloakroom/cluster/session"
	"cloakroom/httpapi/credential"
	"cloakroom/httpapi/exchange"
)

// scanned returns the tokens that scan finds.
func scanned(body string) ([]string, bool) {
	in := &bulkCheck{}
	ok := in.scan([]byte(body))
	var found []string
	for _, text := range in.tokens {
		found = append(found, string(text))
	}
	return found, ok
}

func TestBulkScan(t *testing.T) {
	for body, ok := range map[string]bool{
		`{"tokens":["a"]}`:                              true,
		`{"tokens":["a","b c",""]}`:                     true,
		" \t\r\n{ \"tokens\" :\n[ \"a\" , \"b\" ] } \n": true,
		`{"tokens":[]}`:                                 false, // JSON all the same, and so are some of the others
		`{"tokens":["a"],"x":1}`:                        false,
		`{"x":1,"tokens":["a"]}`:                        false,
		`{"Tokens":["a"]}`:                              false,
		`{"tokens":["a\u0062"]}`:                        false,
		`{"tokens":["é"]}`:                              false,
		"{\"tokens\":[\"a\tb\"]}":                       false,
		"{\"tokens\":[\"a\x7f\"]}":                      false,
		`{"tokens":["a",]}`:                             false,
		`{"tokens":[,"a"]}`:                             false,
		`{"tokens":["a" "b"]}`:                          false,
		`{"tokens":["a"]`:                               false,
		`{"tokens":["a"}`:                               false,
		`{"tokens":["a"]}}`:                             false,
		`{"tokens":["a"]}{"tokens":["b"]}`:              false,
		`{"tokens":["a`:                                 false,
		`{"tokens":["a\"]}`:                             false,
		`{"tokens":"a"}`:                                false,
		`{"tokens":[["a"]]}`:                            false,
		`{"tokens":null}`:                               false,
		`{"tokens"["a"]}`:                               false,
		"\u00a0{\"tokens\":[\"a\"]}":                    false,
		`["a"]`:                                         false,
		``:                                              false,
		"{\"tokens\":[\"" + strings.Repeat("x", 99) + `"]}`: true,
	} {
		if found, got := scanned(body); got != ok {
			t.Errorf("%s: %q, %t", body, found, got)
		}
	}
	if found, ok := scanned(`{"tokens":["` + strings.Repeat(`","`, exchange.MaxBulkVerify+100) + `"]}`); !ok || len(found) != exchange.MaxBulkVerify+1 {
		t.Errorf("%d tokens, %t", len(found), ok)
	}
}

// FuzzTokens: what the scanner takes is JSON, and says the same to encoding/json.
func FuzzTokens(f *testing.F) {
	for _, seed := range []string{`{"tokens":["a","b"]}`, ` { "tokens" : [ "" , "x" ] } `, `{"tokens":["a\n"]}`, `{"tokens":["a"],"tokens":["b"]}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		found, ok := scanned(body)
		if !ok {
			return
		}
		var want struct {
			Tokens []string `json:"tokens"`
		}
		if err := json.Unmarshal([]byte(body), &want); err != nil {
			t.Fatalf("%q: %v", body, err)
		}
		if !slices.Equal(found, want.Tokens[:min(len(want.Tokens), exchange.MaxBulkVerify+1)]) {
			t.Fatalf("%q: %q, not %q", body, found, want.Tokens)
		}
	})
}

// However a token is written and however its answer is found, it is the same one, in the order of the request.
func TestBulkVerifyOrder(t *testing.T) {
	f := newFixture(t)
	svc := f.create(session.Create{Username: "svc"})
	var texts, want []string
	for i := range 100 {
		tok, text := f.create(session.Create{Username: []string{"root", "ann"}[i%2]}), ""
		switch i % 7 {
		case 2:
			text, tok = credential.Mint().Text, credential.Token{}
		case 3:
			text, tok = "nonsense", credential.Token{}
		default:
			text = tok.Text
		}
		texts = append(texts, text)
		if tok.Text == "" {
			want = append(want, "")
		} else {
			want = append(want, tok.Key.String())
		}
	}
	list, err := json.Marshal(texts)
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{fmt.Sprintf(`{"tokens":%s}`, list), fmt.Sprintf(`{"x":0,"tokens":%s}`, list)} {
		first := ""
		for _, every := range []int{0, 1, 2, 3, 50} {
			f.fake.every = every
			a := f.send("POST", "/api/sessions/verify", idCookie(svc), jsonBody(body))
			var got struct {
				Sessions []struct {
					Active bool
					Handle string
				}
			}
			if err := json.Unmarshal([]byte(a.body), &got); err != nil || a.status != 200 || len(got.Sessions) != len(want) {
				t.Fatalf("%d %v: %s", a.status, err, a.body)
			}
			for i, one := range got.Sessions {
				if one.Handle != want[i] || one.Active != (want[i] != "") {
					t.Errorf("every %d, token %d: %+v, want %s", every, i, one, want[i])
				}
			}
			if first == "" {
				first = a.body
			}
			if a.body != first {
				t.Errorf("every %d: %s\n%s", every, a.body, first)
			}
		}
	}
}

// What a bulk check costs does not grow by an allocation for each token.
func TestBulkVerifyDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	f := newFixture(t)
	svc := f.create(session.Create{Username: "svc"})
	known := make([]credential.Token, 50)
	for i := range known {
		known[i] = f.create(session.Create{Username: "ann"})
	}
	perCall := func(n int) float64 {
		texts := make([]string, n)
		for i := range texts {
			texts[i] = known[i%len(known)].Text
		}
		list, err := json.Marshal(texts)
		if err != nil {
			t.Fatal(err)
		}
		ctx := bareRequest("POST", "/api/sessions/verify", idCookie(svc))
		ctx.Request.Header.SetContentType(exchange.TypeJSON)
		body := fmt.Appendf(nil, `{"tokens":%s}`, list)
		run := func() {
			ctx.Request.SetBodyRaw(body) // a large one is dropped when it is answered
			f.fake.levels = f.fake.levels[:0]
			f.checker.checks.until = nil
			ctx.Response.Header.Reset()
			ctx.Response.ResetBody()
			f.handler(ctx)
			if ctx.Response.StatusCode() != 200 {
				t.Fatalf("%d %s", ctx.Response.StatusCode(), ctx.Response.Body())
			}
		}
		run()
		return testing.AllocsPerRun(50, run)
	}
	few, many := perCall(10), perCall(1000)
	if many > few+20 { // buffers may grow
		t.Errorf("%v allocations for 10 tokens, %v for 1000", few, many)
	}
}
