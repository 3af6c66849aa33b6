package httpapi

import (
	"strconv"
	"strings"
	"testing"

	"cloakroom/httpapi/exchange"
)

// smuggled would end the victim's session if it were taken for a request.
const smuggled = "DELETE /api/session HTTP/1.1\r\nHost: cloak.example\r\nCookie: id=" + victim + "\r\n\r\n"

// Where a request's body ends must be in no doubt: what one server takes for the body is the next request to another
// (RFC 9112, 6.3 and 11.2). What is doubtful is refused, and the connection with it.
func TestHostileLengths(t *testing.T) {
	post := func(fields ...string) string {
		return head("POST /api/session", append(fields, "Content-Type: application/json")...) + "0\r\n\r\n" + smuggled
	}
	get := func(fields ...string) string { return head("GET /healthz", fields...) + "0\r\n\r\n" + smuggled }
	newHostileServer(t).run([]hostile{
		{"length, then encoding", post("Content-Length: 5", "Transfer-Encoding: chunked"), "400 bad-framing", closes},
		{"encoding, then length", post("Transfer-Encoding: chunked", "Content-Length: 5"), "400 bad-framing", closes},
		{"length and encoding of a GET", get("Content-Length: 5", "Transfer-Encoding: chunked"), "400 bad-framing", closes},
		{"length and encoding, other fields between", post("Content-Length: 5", "A: b", "Transfer-Encoding: chunked"), "400 bad-framing", closes},
		{"length 0 and encoding", post("Content-Length: 0", "Transfer-Encoding: chunked"), "400 bad-framing", closes},
		{"length and encoding in capitals", post("CONTENT-LENGTH: 5", "TRANSFER-ENCODING: CHUNKED"), "400 bad-framing", closes},
		{"length and encoding and expectation", post("Content-Length: 5", "Transfer-Encoding: chunked", "Expect: 100-continue"), "400 bad-framing", closes},
		{"length and identity", post("Content-Length: 5", "Transfer-Encoding: identity"), "400 bad-framing", closes},
		{"identity alone", get("Transfer-Encoding: identity"), "400 bad-framing", closes},
		{"empty encoding", get("Transfer-Encoding:"), "400 bad-framing", closes},
		{"xchunked", post("Transfer-Encoding: xchunked"), "400 bad-framing", closes},
		{"chunked with a parameter", post("Transfer-Encoding: chunked;q=1"), "400 bad-framing", closes},
		{"chunked in quotes", post(`Transfer-Encoding: "chunked"`), "400 bad-framing", closes},
		{"chunked twice", post("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), "400 bad-framing", closes},
		{"chunked, chunked", post("Transfer-Encoding: chunked, chunked"), "400 bad-framing", closes},
		{"gzip, chunked", post("Transfer-Encoding: gzip, chunked"), "400 bad-framing", closes},
		{"chunked, identity", post("Transfer-Encoding: chunked, identity"), "400 bad-framing", closes},
		{"chunked, then identity", post("Transfer-Encoding: chunked", "Transfer-Encoding: identity"), "400 bad-framing", closes},
		{"vertical tab before chunked", post("Transfer-Encoding: \x0bchunked"), "400 bad-request", closes},
		{"NUL after chunked", post("Transfer-Encoding: chunked\x00"), "400 bad-request", closes},
		{"tab before chunked is none of these", post("Transfer-Encoding:\tchunked"), "400 malformed-json", closes},
		{"blank before the colon of the encoding", post("Content-Length: 5", "Transfer-Encoding : chunked"), "400 bad-request", closes},
		{"blank before the colon of the length", post("Content-Length : 5"), "400 bad-request", closes},
		{"tab before the colon of the length", post("Content-Length\t: 5"), "400 bad-request", closes},
		{"blank within the name", post("Content Length: 5"), "400 bad-request", closes},
		{"NUL in the name", post("Content-Length\x00: 5"), "400 bad-request", closes},
		{"encoding on a second line", post("Content-Length: 5", "Transfer-Encoding:", " chunked"), "400 bad-request", closes},
		{"length on a second line", post("Content-Length:", " 5"), "400 bad-request", closes},
		{"length behind a fold", post("A: b", " Content-Length: 5"), "400 bad-request", closes},
		{"length behind a fold with a tab", post("A: b", "\tContent-Length: 5"), "400 bad-request", closes},
		{"folded field", get("A: b", "\tc"), "400 bad-request", closes},
		{"blank before the first field", "GET /healthz HTTP/1.1\r\n Host: cloak.example\r\n\r\n" + smuggled, "400 bad-request", closes},

		{"two lengths", post("Content-Length: 5", "Content-Length: 6"), "400 bad-framing", closes},
		{"two equal lengths", post("Content-Length: 5", "Content-Length: 5"), "400 bad-framing", closes},
		{"list of lengths", post("Content-Length: 5, 5"), "400 bad-request", closes},
		{"length with a sign", post("Content-Length: +5"), "400 bad-request", closes},
		{"negative length", post("Content-Length: -5"), "400 bad-request", closes},
		{"length 0x5", post("Content-Length: 0x5"), "400 bad-request", closes},
		{"length 5e0", post("Content-Length: 5e0"), "400 bad-request", closes},
		{"length 5.0", post("Content-Length: 5.0"), "400 bad-request", closes},
		{"length of two words", post("Content-Length: 5 5"), "400 bad-request", closes},
		{"empty length", post("Content-Length:"), "400 bad-request", closes},
		{"length in other digits", post("Content-Length: ٥"), "400 bad-request", closes},
		{"length over 64 bits", post("Content-Length: 18446744073709551621"), "400 bad-request", closes},
		{"length of 300 digits", post("Content-Length: " + strings.Repeat("9", 300)), "400 bad-request", closes},
		{"length just below 64 bits", post("Content-Length: 9223372036854775807"), "413 limit-body", closes},
		{"zeros before a length are none of these", head("POST /api/session", "Content-Type: application/json", "Content-Length: 0002") + "{}", "400 missing-field", goesOn},

		{"bare LF between fields", "GET /healthz HTTP/1.1\r\nHost: cloak.example\nA: b\r\n\r\n" + smuggled, "400 bad-request", closes},
		{"bare LF hides a length", "GET /healthz HTTP/1.1\r\nHost: cloak.example\r\nA: b\nContent-Length: " + strconv.Itoa(len(smuggled)) + "\r\n\r\n" + smuggled, "400 bad-request", closes},
		{"bare LF ends the head", "GET /healthz HTTP/1.1\r\nHost: cloak.example\r\n\n" + smuggled, "400 bad-request", closes},
		{"bare LF all over", "GET /healthz HTTP/1.1\nHost: cloak.example\n\n" + smuggled, "400 bad-request", closes},
		{"bare CR in a field", get("A: b\rContent-Length: 5"), "400 bad-request", closes},
		{"CR CR LF", "GET /healthz HTTP/1.1\r\r\nHost: cloak.example\r\r\n\r\r\n\r\n" + smuggled, "400 bad-request", closes},
		{"field without a colon", get("nonsense"), "400 bad-request", closes},
		{"field without a name", get(": 5"), "400 bad-request", closes},
		{"encoding in HTTP/1.0", "POST /api/session HTTP/1.0\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n0\r\n\r\n" + smuggled, "400 bad-framing", closes},
	})
}

// A chunked body may be ended in ways that servers read differently, and some of them nobody can see afterwards. So a
// connection ends with its first chunked body, however that looks.
func TestHostileChunks(t *testing.T) {
	const rest = "0\r\n\r\n" + smuggled
	hex := func(body string) string { return strconv.FormatInt(int64(len(body)), 16) + "\r\n" + body + "\r\n" }
	trailer := func(lines string) string { return chunked(hex(annsJSON) + "0\r\n" + lines + "\r\n" + smuggled) }
	newHostileServer(t).run([]hostile{
		{"good, and the connection ends", chunked(hex(annsJSON) + rest), "201", closes},
		{"a byte a chunk", chunked(strings.Repeat("1\r\n \r\n", 4096) + hex(annsJSON) + rest), "201", closes},
		{"zeros before the size", chunked("0000" + hex(annsJSON) + rest), "201", closes},
		{"size is no number", chunked("zz\r\n" + rest), "400 bad-request", closes},
		{"no size", chunked("\r\n" + rest), "400 bad-request", closes},
		{"negative size", chunked("-5\r\n{}   \r\n" + rest), "400 bad-request", closes},
		{"size with a sign", chunked("+2\r\n{}\r\n" + rest), "400 bad-request", closes},
		{"size with 0x", chunked("0x2\r\n{}\r\n" + rest), "400 bad-request", closes},
		{"size with an underscore", chunked("0_2\r\n{}\r\n" + rest), "400 bad-request", closes},
		{"blank before the size", chunked(" 2\r\n{}\r\n" + rest), "400 bad-request", closes},
		{"size of 64 bits", chunked("ffffffffffffffff\r\n{}\r\n" + rest), "400 bad-request", closes},
		{"size over 64 bits", chunked("10000000000000002\r\n{}\r\n" + rest), "400 bad-request", closes},
		{"size of 60 bits", chunked("fffffffffffffff\r\n{}\r\n" + rest), "413 limit-body", closes},
		{"size of 300 zeros", chunked(strings.Repeat("0", 300) + "2\r\n{}\r\n" + rest), "400 bad-request", closes},
		{"chunk shorter than its size", chunked("5\r\n{}\r\n" + rest), "400 bad-request", closes},
		{"chunk longer than its size", chunked("1\r\n{}\r\n" + rest), "400 bad-request", closes},
		{"LF after the size", chunked("2\n{}\r\n" + rest), "400 bad-request", closes},
		{"LF after the chunk", chunked("2\r\n{}\n" + rest), "400 bad-request", closes},
		{"CR after the size", chunked("2\r{}\r\n" + rest), "400 bad-request", closes},
		{"LF within an extension", chunked("2;a\n{}\r\n" + rest), "400 bad-request", closes},
		{"CR within an extension", chunked("2;a\rb\r\n{}\r\n" + rest), "400 bad-request", closes},
		{"extension", chunked("2;a=b;c=\"d\"\r\n{}\r\n" + rest), "400 missing-field", closes},
		{"extension of a megabyte", chunked("2;" + strings.Repeat("a", 1<<20) + "\r\n{}\r\n" + rest), "400 missing-field", closes},
		{"LF after the last chunk", chunked(hex(annsJSON) + "0\r\n\n" + smuggled), "201", closes},
		{"LF after the last size", chunked(hex(annsJSON) + "0\n\r\n" + smuggled), "400 bad-request", closes},
		{"more than the limit in chunks", chunked(strings.Repeat("400\r\n"+strings.Repeat(" ", 1024)+"\r\n", 33) + rest), "413 limit-body", closes},

		{"trailer", trailer("Digest: x\r\n"), "201", closes},
		{"trailer with a bare LF", trailer("Digest: x\n\n" + smuggled), "201", closes},
		{"trailer is no header", head("GET /api/session", "Cookie: id={ann}", "Transfer-Encoding: chunked") +
			"0\r\nConsistency: nonsense\r\n\r\n", "200 ann", closes},
		{"trailer changes no origin", trailer("Sec-Fetch-Site: cross-site\r\nOrigin: http://evil.example\r\n"), "201", closes},
		{"trailer with a length", trailer("Content-Length: 5\r\n"), "400 bad-request", closes},
		{"trailer with an encoding", trailer("Transfer-Encoding: chunked\r\n"), "400 bad-request", closes},
		{"trailer with a host", trailer("Host: evil.example\r\n"), "400 bad-request", closes},
		{"trailer with a cookie", trailer("Cookie: id=" + victim + "\r\n"), "400 bad-request", closes},
		{"trailer with credentials", trailer("Authorization: Basic eA==\r\n"), "400 bad-request", closes},
		{"trailer without a colon", trailer("nonsense\r\n"), "400 bad-request", closes},
		{"trailer of a megabyte", trailer("A: " + strings.Repeat("a", 1<<20) + "\r\n"), "413 limit-header", closes},
	})
}

// Requests that are sent without waiting for the answers, among them those that hide others.
func TestHostilePipelines(t *testing.T) {
	health, stranger := head("GET /healthz"), head("GET /api/session")
	bad := "GET /healthz HTTP/1.1\r\n\r\n" // without Host
	h := newHostileServer(t)
	h.run([]hostile{
		{"a hundred at once", strings.Repeat(health, 100), strings.Repeat("200; ", 100), goesOn},
		{"good, bad, hidden", health + bad + smuggled, "200; 400 bad-request", closes},
		{"bad, good", bad + health, "400 bad-request", closes},
		{
			"refused ones don't end it", stranger + stranger + head("GET /nowhere") + head("PUT /healthz"),
			"401 session-invalid; 401 session-invalid; 404 not-found; 405 method-not-allowed", goesOn,
		},
		{"in the body of a refused one", bodied("POST /api/session", smuggled), "400 malformed-json", goesOn},
		{"in the body of one that is not there", bodied("POST /nowhere", smuggled), "404 not-found", goesOn},
		{"in the body of one without a session", bodied("POST /session/put", smuggled), "401 session-invalid", goesOn},
		{"in the body of a GET", bodied("GET /healthz", smuggled), "200", goesOn},
		{"in the body of a HEAD", bodied("HEAD /healthz", smuggled), "HEAD 200", goesOn},
		{"in the body of a DELETE", bodied("DELETE /api/sessions/x", smuggled), "401 session-invalid", goesOn},
		{"in the body of an OPTIONS", bodied("OPTIONS /api/session", smuggled), "204", goesOn},
		{"in the body of a TRACE", bodied("TRACE /api/session", smuggled), "405 method-not-allowed", goesOn},
		{
			"body without a length", head("POST /api/session", "Content-Type: application/json") + annsJSON + "\r\n\r\n",
			"400 malformed-json; 400 bad-request", closes,
		},
		{
			"body longer than its length", head("POST /session/get", "Content-Length: 3", "Cookie: id={ann}") + "key=x\r\n\r\n" + smuggled,
			"200; 400 bad-request", closes,
		},
		{
			"HEAD has no body", head("HEAD /api/session") + stranger + head("HEAD /nowhere") + health,
			"HEAD 401; 401 session-invalid; HEAD 404; 200", goesOn,
		},
		{"empty lines between", "\r\n\r\n" + health + "\r\n" + health, "200; 200", goesOn},
		{"nothing behind a close", head("GET /healthz", "Connection: close") + smuggled, "200", closes},
		{"nothing behind a Close", head("GET /healthz", "Connection: Close") + smuggled, "200", closes},
		{"nothing behind a close among others", head("GET /healthz", "Connection: keep-alive, close") + smuggled, "200", closes},
		{"nothing behind a close before others", head("GET /healthz", "Connection: close", "Connection: keep-alive") + smuggled, "200", closes},
		{"login, then its bad copy", jsonRequest("POST /api/session", annsJSON) + jsonRequest("POST /api/session", annsJSON[1:]), "201; 400 malformed-json", goesOn},
	})
}

// A client that asks before it sends a body (RFC 9110, 10.1.1).
func TestHostileExpectations(t *testing.T) {
	const expect = "Expect: 100-continue"
	login := func(fields ...string) string { return jsonRequest("POST /api/session", annsJSON, fields...) }
	long := "Content-Length: " + strconv.Itoa(exchange.MaxBody+1)
	newHostileServer(t).run([]hostile{
		{"does not wait", login(expect), "100; 201", goesOn},
		{"in other letters", login("expect: 100-Continue"), "100; 201", goesOn},
		{"something else", login("Expect: miracles"), "201", goesOn},
		{"without a body", head("GET /healthz", expect), "200", goesOn},
		{"with an empty one", head("POST /api/session", expect, "Content-Length: 0"), "400 malformed-json", goesOn},
		{"in HTTP/1.0", "GET /healthz HTTP/1.0\r\nContent-Length: 2\r\n" + expect + "\r\n\r\n{}", "200", closes},
		{"too much", head("POST /api/session", expect, long), "413 limit-body", closes},
		{"too much of a bulk call", head("POST /api/sessions", expect, "Content-Length: "+strconv.Itoa(exchange.MaxBulkBody+1)), "413 limit-body", closes},
		{"not too much for a bulk call", head("POST /api/sessions", expect, long) + strings.Repeat(" ", exchange.MaxBody+1), "100; 401 session-invalid", goesOn},
		{"something hidden behind too much", head("POST /api/session", expect, long) + smuggled, "413 limit-body", closes},
		{"in chunks", chunked("2\r\n{}\r\n0\r\n\r\n"+smuggled, expect), "100; 400 missing-field", closes},
		{"length and encoding", chunked("0\r\n\r\n"+smuggled, expect, "Content-Length: 5"), "400 bad-framing", closes},
	})
}
