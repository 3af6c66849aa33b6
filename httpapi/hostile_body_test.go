package httpapi

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"strings"
	"testing"
	"unicode/utf16"

	"cloakroom/httpapi/exchange"
)

// Bodies of a login that are no JSON, or not the JSON that is asked for.
func TestHostileJSON(t *testing.T) {
	login := func(body string) string { return jsonRequest("POST /api/session", body) }
	typed := func(types ...string) string {
		for i := range types {
			types[i] = "Content-Type: " + types[i]
		}
		return bodied("POST /api/session", annsJSON, types...)
	}
	with := func(member string) string { return login(annsJSON[:len(annsJSON)-1] + "," + member + "}") }
	name := func(username string) string {
		return login(`{"username":` + username + `,"password":"` + testPassword + `"}`)
	}
	newHostileServer(t).run([]hostile{
		{"empty", login(""), "400 malformed-json", goesOn},
		{"blanks", login(" \r\n\t"), "400 malformed-json", goesOn},
		{"null", login("null"), "400 missing-field", goesOn},
		{"true", login("true"), "400 malformed-json", goesOn},
		{"number", login("1"), "400 malformed-json", goesOn},
		{"string", login(`"ann"`), "400 malformed-json", goesOn},
		{"array", login("[" + annsJSON + "]"), "400 malformed-json", goesOn},
		{"cut", login(annsJSON[:len(annsJSON)-1]), "400 malformed-json", goesOn},
		{"more behind", login(annsJSON + "{}"), "400 malformed-json", goesOn},
		{"comma at the end", with(""), "400 malformed-json", goesOn},
		{"comment", login("/* */" + annsJSON), "400 malformed-json", goesOn},
		{"single quotes", login(strings.ReplaceAll(annsJSON, `"`, "'")), "400 malformed-json", goesOn},
		{"names without quotes", login(`{username:"ann"}`), "400 malformed-json", goesOn},
		{"NaN", with(`"x":NaN`), "400 malformed-json", goesOn},
		{"byte order mark", login("\ufeff" + annsJSON), "400 malformed-json", goesOn},
		{"UTF-16", login(inUTF16(annsJSON)), "400 malformed-json", goesOn},
		{"Latin 1", name("\"M\xfcller\""), "400 malformed-json", goesOn},
		{"slash in two bytes", name("\"a\xc0\xafb\""), "400 malformed-json", goesOn},
		{"surrogate in UTF-8", name("\"a\xed\xa0\x80b\""), "400 malformed-json", goesOn},
		{"half a surrogate pair", name(`"a\ud800b"`), "400 malformed-json", goesOn},
		{"surrogates the wrong way round", name(`"a\udc00\ud800b"`), "400 malformed-json", goesOn},
		{"half a pair in what nobody reads", with(`"x":"\udfff"`), "400 malformed-json", goesOn},
		{"whole pair", name(`"a\ud83d\ude00\\ud800"`), "401 invalid-credentials", goesOn},
		{"NUL byte", name("\"ann\x00\""), "400 malformed-json", goesOn},
		{"NUL in escapes", name(`"ann\u0000"`), "401 invalid-credentials", goesOn},
		{"line break in a string", name("\"ann\r\nX-Evil: 1\""), "400 malformed-json", goesOn},
		{"line break in escapes", name(`"ann\r\nX-Evil: 1"`), "401 invalid-credentials", goesOn},
		{"unknown escape", name(`"\x41nn"`), "400 malformed-json", goesOn},
		{"deep array", login(strings.Repeat("[", exchange.MaxBody)), "400 malformed-json", goesOn},
		{"deep array to its end", login(strings.Repeat("[", exchange.MaxBody/2) + strings.Repeat("]", exchange.MaxBody/2)), "400 malformed-json", goesOn},
		{"deep object in what nobody reads", with(`"x":` + strings.Repeat(`{"a":`, 5000)), "400 malformed-json", goesOn},
		{"deep and well-formed in what nobody reads", with(`"x":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000)), "201", goesOn},
		{"name that is a number", name("1"), "400 malformed-json", goesOn},
		{"name that is a list", name(`["ann"]`), "400 malformed-json", goesOn},
		{"name that is null", name("null"), "400 missing-field", goesOn},
		{"empty name", name(`""`), "400 missing-field", goesOn},
		{"name of 30 KiB", name(`"` + strings.Repeat("a", 30<<10) + `"`), "401 invalid-credentials", goesOn},
		{"password of 30 KiB", login(`{"username":"ann","password":"` + strings.Repeat("a", 30<<10) + `"}`), "401 invalid-credentials", goesOn},
		{"huge number", name("1" + strings.Repeat("0", 30_000)), "400 malformed-json", goesOn},
		{"huge exponent", name("1e999999999"), "400 malformed-json", goesOn},
		{"huge number in what nobody reads", with(`"x":-1e999999999`), "201", goesOn},
		{"names twice: the last counts", login(`{"username":"root","username":"ann","password":"` + testPassword + `"}`), "201", goesOn},
		{"ten thousand members", login("{" + strings.Repeat(`"":1,`, 5000) + annsJSON[1:]), "201", goesOn},

		{"no type", bodied("POST /api/session", annsJSON), "400 malformed-json", goesOn},
		{"empty type", typed(""), "400 malformed-json", goesOn},
		{"text/plain", typed("text/plain"), "400 malformed-json", goesOn},
		{"a form's type", typed("application/x-www-form-urlencoded"), "400 malformed-json", goesOn},
		{"multipart", typed("multipart/form-data; boundary=x"), "400 malformed-json", goesOn},
		{"multipart without a boundary", typed("multipart/form-data"), "400 malformed-json", goesOn},
		{"json as a parameter", typed("text/plain; x=application/json"), "400 malformed-json", goesOn},
		{"nearly json", typed("application/jsonp"), "400 malformed-json", goesOn},
		{"two types in one", typed("application/json, text/plain"), "400 malformed-json", goesOn},
		{"two types", typed("text/plain", "application/json"), "400 bad-request", closes},
		{"two types, the other way round", typed("application/json", "text/plain"), "400 bad-request", closes},
		{"one type twice", typed("application/json", "application/json"), "201", goesOn},
		{"type in capitals, with a parameter", typed(`APPLICATION/JSON ; charset="UTF-8"`), "201", goesOn},
		{"type with nothing behind", typed("application/json;"), "201", goesOn},
		{"other characters are said", bodied("POST /api/session", inUTF16(annsJSON), "Content-Type: application/json; charset=utf-16"), "400 malformed-json", goesOn},
	})
}

// Bodies that are packed, cut or too long.
func TestHostileSizes(t *testing.T) {
	packed := func(coding, body string) string {
		return jsonRequest("POST /api/session", body, "Content-Encoding: "+coding)
	}
	of := func(line string, size int) string {
		return bodied(line, strings.Repeat(" ", size), "Content-Type: application/json", "Cookie: id={svc}")
	}
	newHostileServer(t).run([]hostile{
		{"gzip", packed("gzip", zipped(annsJSON)), "415 content-encoding", goesOn},
		{"gzip of 20 MiB", packed("gzip", zipped(strings.Repeat(" ", 20<<20))), "415 content-encoding", goesOn},
		{"GZIP", packed("GZIP", zipped(annsJSON)), "415 content-encoding", goesOn},
		{"gzip that is none", packed("gzip", annsJSON), "415 content-encoding", goesOn},
		{"gzip in gzip", packed("gzip, gzip", zipped(zipped(annsJSON))), "415 content-encoding", goesOn},
		{"gzip on a second line", jsonRequest("POST /api/session", annsJSON, "Content-Encoding: identity", "Content-Encoding: gzip"), "415 content-encoding", goesOn},
		{"br", packed("br", "\x0b\x02\x80{}\x03"), "415 content-encoding", goesOn},
		{"zstd", packed("zstd", "\x28\xb5\x2f\xfd"), "415 content-encoding", goesOn},
		{"unknown coding", packed("pkzip", annsJSON), "415 content-encoding", goesOn},
		{"packed form", formRequest("POST /session/put", zipped("a=b"), "Content-Encoding: gzip", "Cookie: zsessionid={z}"), "415 content-encoding", goesOn},
		{"identity", packed("identity", annsJSON), "201", goesOn},
		{"coding without a body", head("GET /api/session", "Content-Encoding: gzip", "Cookie: id={ann}"), "200 ann", goesOn},

		{"as long as may be", of("POST /api/session", exchange.MaxBody), "400 malformed-json", goesOn},
		{"a byte too long", of("POST /api/session", exchange.MaxBody+1), "413 limit-body", closes},
		{"a megabyte", of("POST /api/session", 1<<20), "413 limit-body", closes},
		{"a megabyte for nobody", of("POST /nowhere", 1<<20), "413 limit-body", closes},
		{"a megabyte of a GET", of("GET /healthz", 1<<20), "413 limit-body", closes},
		{"said to be an exabyte", head("POST /api/session", "Content-Length: 1152921504606846976"), "413 limit-body", closes},
		{"bulk call as long as may be", of("POST /api/sessions", exchange.MaxBulkBody), "400 malformed-json", goesOn},
		{"bulk call a byte too long", of("POST /api/sessions", exchange.MaxBulkBody+1), "413 limit-body", closes},
		{"long body for a bulk call written otherwise", of("POST /api//sessions", exchange.MaxBody+1), "413 limit-body", closes},
		{"long body by a bulk call's query", of("POST /api/session?/api/sessions", exchange.MaxBody+1), "413 limit-body", closes},
		{"long body after a bulk call", of("POST /api/sessions", exchange.MaxBulkBody) + of("POST /api/session", exchange.MaxBody+1), "400 malformed-json; 413 limit-body", closes},
	})
}

// Forms and attributes of the M/Monit surface.
func TestHostileForms(t *testing.T) {
	const own = "Cookie: zsessionid={z}"
	put := func(body string, fields ...string) string {
		return formRequest("POST /session/put", body, append(fields, own)...)
	}
	get := func(path string, fields ...string) string { return head("GET "+path, append(fields, own)...) }
	back := "; 200 {\"a\":\""
	many := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "k%d=v&", i)
		}
		return b.String()
	}
	big := strings.Repeat("v", 4096)
	newHostileServer(t).run([]hostile{
		{"nothing", put(""), "400 missing-field", goesOn},
		{"nothing but separators", put("&&&&"), "400 missing-field", goesOn},
		{"name twice: the last counts", put("a=b&a=c") + get("/session/get?key=a"), "200" + back + "c\"}", goesOn},
		{"query and body: the body counts", formRequest("POST /session/put?a=b", "a=c", own) + get("/session/get?key=a"), "200" + back + "c\"}", goesOn},
		{"broken escape stays as it is", put("a=100%") + get("/session/get?key=a"), "200" + back + "100%\"}", goesOn},
		{"%zz stays as it is", put("a=%zz") + get("/session/get?key=a"), "200" + back + "%zz\"}", goesOn},
		{"escaped escape is taken apart once", put("a=%2541") + get("/session/get?key=a"), "200" + back + "%41\"}", goesOn},
		{"NUL", put("a=%00b") + get("/session/get?key=a"), "200" + back + "\\u0000b\"}", goesOn},
		{"script", put("a=</script><script>") + get("/session/get?key=a"), "200" + back + "\\u003c/script\\u003e\\u003cscript\\u003e\"}", goesOn},
		{"line break", put("a=%0d%0aX-Evil:%201") + get("/session/get?key=a"), "200" + back + "\\u000d\\u000aX-Evil: 1\"}", goesOn},
		{"value that is no UTF-8", put("a=%ff"), "400 bad-field", goesOn},
		{"name that is no UTF-8", put("%c0%af=b"), "400 bad-field", goesOn},
		{"value without a name", put("=b"), "413 limit-attribute-key", goesOn},
		{"name of 129 bytes", put(strings.Repeat("k", 129) + "=v"), "413 limit-attribute-key", goesOn},
		{"value of 4097 bytes", put("a=v" + big), "413 limit-attribute-value", goesOn},
		{"65 attributes", put(many(65)), "413 limit-attributes", goesOn},
		{"64 attributes and one more", put(many(64)) + put("one=more"), "200; 413 limit-attributes", goesOn},
		{"more than 16 KiB", put("a=" + big + "&b=" + big + "&c=" + big + "&d=" + big), "413 limit-session-bytes", goesOn},
		{"ten thousand arguments", put(strings.Repeat("a&", 10_000)), "413 limit-attributes", goesOn},
		{"ten thousand arguments of a login", formRequest("POST /z_security_check", strings.Repeat("a&", 10_000)), "413 limit-attributes", goesOn},
		{"thousand keys to get", get("/session/get?" + strings.Repeat("key=a&", 1000)), "413 limit-attributes", goesOn},
		{"thousand keys to delete", get("/session/delete?" + strings.Repeat("key=a&", 1000)), "413 limit-attributes", goesOn},
		{"the CSRF token", put("CSRFToken=mine") + get("/session/delete?key=CSRFToken"), "200 {}; 400 reserved-attribute", goesOn},
		{"JSON", jsonRequest("POST /session/put", `{"a":"b"}`, own), "400 bad-field", goesOn},
		{"multipart", bodied("POST /session/put", "--x\r\nContent-Disposition: form-data; name=a\r\n\r\nb\r\n--x--\r\n", own, "Content-Type: multipart/form-data; boundary=x"), "400 bad-field", goesOn},
		{"multipart cut", bodied("POST /session/put", "--x\r\nContent-Disposition: form-data; name=a", own, "Content-Type: multipart/form-data; boundary=x"), "400 bad-field", goesOn},
		{"session in the query", head("GET /session/get?zsessionid={z}"), "401 session-invalid", goesOn},
		{"session in the path", head("GET /session/get;zsessionid={z}"), "404 not-found", goesOn},

		{"If-Match that does not match", put("a=b", `If-Match: "99999"`), "412 precondition-failed", goesOn},
		{"If-Match that is no tag", put("a=b", "If-Match: 1"), "412 precondition-failed", goesOn},
		{"If-Match of a weak tag", put("a=b", `If-Match: W/"1"`), "412 precondition-failed", goesOn},
		{"If-Match without an end", put("a=b", `If-Match: "1`), "412 precondition-failed", goesOn},
		{"If-Match of a huge number", put("a=b", `If-Match: "99999999999999999999"`), "412 precondition-failed", goesOn},
		{"empty If-Match", put("a=b", "If-Match:"), "412 precondition-failed", goesOn},
		{"empty If-Match and another", put("a=b", "If-Match:", `If-Match: "99999"`), "412 precondition-failed", goesOn},
		{"If-Match on two lines, the second of anything", put("a=b", `If-Match: "99999"`, "If-Match: *"), "200", goesOn},
		{"If-Match of anything", put("a=b", "If-Match: *"), "200", goesOn},
		{"range", get("/session/get", "Range: bytes=0-0"), "200 CSRFToken", goesOn},
		{"many ranges", get("/session/get", "Range: bytes="+strings.Repeat("0-,", 1000)+"0-"), "200 CSRFToken", goesOn},
		{"unless it is the same", get("/session/get", "If-None-Match: *", "If-Modified-Since: x"), "200 CSRFToken", goesOn},
	})
}

// Bodies of calls that need a role.
func TestHostileBulk(t *testing.T) {
	bulk := func(body string, fields ...string) string {
		return jsonRequest("POST /api/sessions", body, append(fields, "Cookie: id={svc}")...)
	}
	list := func(element string, n int) string {
		return "[" + strings.TrimSuffix(strings.Repeat(element+",", n), ",") + "]"
	}
	user := func(body string) string { return jsonRequest("POST /api/users", body, "Cookie: id={root}") }
	newHostileServer(t).run([]hostile{
		{"not an array", bulk(`{"username":"ann"}`), "400 malformed-json", goesOn},
		{"empty", bulk("[]"), "400 missing-field", goesOn},
		{"null", bulk("null"), "400 missing-field", goesOn},
		{"of null", bulk("[null]"), "400 missing-field", goesOn},
		{"of strings", bulk(`["ann"]`), "400 malformed-json", goesOn},
		{"of nobody", bulk(`[{"username":"nobody"}]`), "404 user-not-found", goesOn},
		{"in a realm that is not there", bulk(`[{"username":"ann","realmName":"\u0000"}]`), "404 realm-not-found", goesOn},
		{"of an administrator", bulk(`[{"username":"root"}]`), "403 privileged-user", goesOn},
		{"one too many", bulk(list(`{"username":"nobody"}`, maxBulkCreate+1)), "413 limit-bulk", goesOn},
		{"far too many", bulk(list("{}", 80_000)), "413 limit-bulk", goesOn},
		{"attributes that are numbers", bulk(`[{"username":"ann","attributes":{"a":1}}]`), "400 malformed-json", goesOn},
		{"attribute with a long name", bulk(`[{"username":"ann","attributes":{"` + strings.Repeat("k", 129) + `":"v"}}]`), "413 limit-attribute-key", goesOn},
		{"attribute with a long value", bulk(`[{"username":"ann","attributes":{"a":"` + strings.Repeat("v", 4097) + `"}}]`), "413 limit-attribute-value", goesOn},
		{"the CSRF token", bulk(`[{"username":"ann","attributes":{"CSRFToken":"mine"}}]`), "400 reserved-attribute", goesOn},
		{"by a user", jsonRequest("POST /api/sessions", `[{"username":"ann"}]`, "Cookie: id={ann}"), "403 forbidden", goesOn},
		{"by an administrator", jsonRequest("POST /api/sessions", `[{"username":"ann"}]`, "Cookie: id={root}"), "403 forbidden", goesOn},
		{"by nobody", jsonRequest("POST /api/sessions", `[{"username":"ann"}]`), "401 session-invalid", goesOn},

		{"user with a line break in the name", user(`{"username":"a\r\nX-Evil: 1","password":"long enough"}`), "400 bad-username", goesOn},
		{"user with NUL in the name", user(`{"username":"a\u0000","password":"long enough"}`), "400 bad-username", goesOn},
		{"user with a comma in the name", user(`{"username":"a,admin","password":"long enough"}`), "400 bad-username", goesOn},
		{"user with a long name", user(`{"username":"` + strings.Repeat("a", 129) + `","password":"long enough"}`), "400 bad-username", goesOn},
		{"user with a short password", user(`{"username":"a","password":"short"}`), "400 password-too-short", goesOn},
		{"user with a long password", user(`{"username":"a","password":"` + strings.Repeat("p", 1025) + `"}`), "400 password-too-long", goesOn},
		{"user with half a surrogate pair for a password", user(`{"username":"a","password":"` + strings.Repeat(`\ud800`, 8) + `"}`), "400 malformed-json", goesOn},
		{"user with a role that is not there", user(`{"username":"b","password":"long enough","roleNames":["\r\n"]}`), "404 role-not-found", goesOn},
		{"user with roles that are none", user(`{"username":"a","password":"long enough","roleNames":"admin"}`), "400 malformed-json", goesOn},
		{"role with a line break in the name", jsonRequest("POST /api/roles", `{"name":"a\r\nb"}`, "Cookie: id={root}"), "400 bad-role-name", goesOn},
		{"realm with a deep configuration", jsonRequest("POST /api/realm-configs", `{"realmType":"ldap","name":"r","config":`+strings.Repeat(`{"a":`, 100)+"1"+strings.Repeat("}", 101), "Cookie: id={root}"), "400 bad-realm-config", goesOn},
		{"realm of an unknown type", jsonRequest("POST /api/realm-configs", `{"realmType":"../x","name":"r"}`, "Cookie: id={root}"), "400 unknown-realm-type", goesOn},
	})
}

func inUTF16(text string) string {
	b := []byte{0xff, 0xfe}
	for _, unit := range utf16.Encode([]rune(text)) {
		b = append(b, byte(unit), byte(unit>>8))
	}
	return string(b)
}

func zipped(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(text)) // a buffer takes everything
	_ = w.Close()
	return b.String()
}
