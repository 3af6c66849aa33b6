package httpapi

import (
	"fmt"
	"strings"
	"testing"

	"cloakroom/cluster/session"
	"cloakroom/httpapi/credential"
	"cloakroom/httpapi/mmonit"
)

// Who must repeat the token, by surface of the login, method, and what is repeated where.
func TestCSRFMatrix(t *testing.T) {
	f := newFixture(t)
	sessions := map[string]credential.Token{
		"mmonit":  f.create(session.Create{Username: "ann", Surface: session.SurfaceMMonit}),
		"off":     f.create(session.Create{Username: "ann", Surface: session.SurfaceMMonit, CSRFOff: true}),
		"fusion":  f.create(session.Create{Username: "ann", Surface: session.SurfaceFusion}),
		"service": f.create(session.Create{Username: "ann", Surface: session.SurfaceService}),
	}
	foreign := credential.CSRFToken([]byte(credential.Mint().Text))
	for _, tt := range []struct {
		session, method, repeat string
		status                  int
	}{
		{"mmonit", "POST", "nothing", 403},
		{"mmonit", "GET", "nothing", 403},
		{"mmonit", "POST", "empty", 403},
		{"mmonit", "POST", "foreign", 403},
		{"mmonit", "POST", "foreign parameter", 403},
		{"mmonit", "POST", "prefix", 403},
		{"mmonit", "POST", "handle", 403},
		{"mmonit", "POST", "header", 200},
		{"mmonit", "GET", "header", 200},
		{"mmonit", "GET", "query", 200},
		{"mmonit", "POST", "query", 200},
		{"mmonit", "POST", "body", 200},
		{"off", "POST", "nothing", 200},
		{"off", "GET", "nothing", 200},
		{"off", "GET", "foreign", 200},
		{"off", "POST", "foreign parameter", 200},
		{"fusion", "POST", "nothing", 200},
		{"fusion", "GET", "nothing", 403},
		{"fusion", "GET", "foreign", 403},
		{"fusion", "GET", "query", 200},
		{"fusion", "GET", "header", 200},
		{"service", "POST", "nothing", 200},
		{"service", "GET", "nothing", 403},
	} {
		t.Run(tt.session+" "+tt.method+" "+tt.repeat, func(t *testing.T) {
			s := sessions[tt.session]
			own := credential.CSRFToken([]byte(s.Text))
			query, body := "n="+tt.repeat, ""
			options := []option{zCookie(s.Text)}
			switch tt.repeat {
			case "header":
				options = append(options, header("CSRFToken", own))
			case "empty":
				options = append(options, header("CSRFToken", ""))
			case "foreign":
				options = append(options, header("CSRFToken", foreign))
			case "prefix":
				options = append(options, header("CSRFToken", own[:len(own)-1]))
			case "handle":
				options = append(options, header("CSRFToken", s.Key.String()))
			case "query":
				query += "&CSRFToken=" + own
			case "foreign parameter":
				query += "&CSRFToken=" + foreign
			case "body":
				body = "CSRFToken=" + own
			}
			before, _ := f.attributes(s)
			if body != "" || tt.method == "POST" {
				options = append(options, formBody(body))
			}
			for _, call := range []string{"put?" + strings.ReplaceAll(query, " ", "+"), "delete?" + strings.Replace(query, "n=", "key=no-such-", 1)} {
				a := f.send(tt.method, "/api/2/session/"+strings.ReplaceAll(call, " ", "+"), options...)
				if a.status != tt.status {
					t.Fatalf("%s: status %d, want %d: %s", call, a.status, tt.status, a.body)
				}
				if tt.status == 403 {
					if errorCode(t, a.body) != mmonit.ErrCSRF.Code || !strings.Contains(a.body, `"error":"CSRF token missing or wrong"`) {
						t.Errorf("%s: body %s", call, a.body)
					}
					if after, _ := f.attributes(s); fmt.Sprint(after) != fmt.Sprint(before) {
						t.Errorf("%s was refused, yet changed %v into %v", call, before, after)
					}
				}
			}
		})
	}
}

// Every call that changes something is covered, and none that only reads.
func TestCSRFCoversEveryChange(t *testing.T) {
	f := newFixture(t)
	for _, prefix := range []string{"/api/2/session", "/api/1/session", "/session"} {
		for _, method := range []string{"GET", "POST"} {
			for call, status := range map[string]int{"put?a=b": 403, "delete": 403, "delete?key=a": 403, "invalidate": 403, "get": 200} {
				s := f.create(session.Create{Username: "ann", Surface: session.SurfaceMMonit, Attrs: []session.Attr{{Key: "a", Value: "1"}}})
				a := f.send(method, prefix+"/"+call, zCookie(s.Text))
				if a.status != status {
					t.Errorf("%s %s/%s: status %d, want %d", method, prefix, call, a.status, status)
				}
				if attrs, live := f.attributes(s); !live || attrs["a"] != "1" {
					t.Errorf("%s %s/%s: changed without the token", method, prefix, call)
				}
			}
		}
	}
}

// With the token of one session nothing can be changed in another, by whichever cookie it is named.
func TestCSRFTokenIsOneSessions(t *testing.T) {
	f := newFixture(t)
	mine := f.create(session.Create{Username: "ann", Surface: session.SurfaceMMonit})
	victims := f.create(session.Create{Username: "root", Surface: session.SurfaceMMonit})
	for _, name := range []string{"zsessionid", "id"} {
		a := f.send("POST", "/session/put?a=b", cookie(name+"="+victims.Text), header("CSRFToken", credential.CSRFToken([]byte(mine.Text))))
		f.expect(a, 403, mmonit.ErrCSRF.Code)
		a = f.send("POST", "/session/put?a=b", cookie(name+"="+victims.Text), header("CSRFToken", credential.CSRFToken([]byte(victims.Text))))
		f.expect(a, 200, "")
	}
}
