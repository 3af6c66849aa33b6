package httpapi

import (
	"strconv"
	"strings"
	"testing"

	"cloakroom/httpapi/exchange"
)

// The first line: what is asked for, and in what language.
func TestHostileFirstLines(t *testing.T) {
	line := func(text string) string { return text + "\r\nHost: cloak.example\r\n\r\n" + smuggled }
	newHostileServer(t).run([]hostile{
		{"HTTP/0.9", "GET /healthz\r\n\r\n", "400 bad-request", closes},
		{"HTTP/0.9 by number", line("GET /healthz HTTP/0.9"), "505 http-version", closes},
		{"HTTP/1.0", "GET /healthz HTTP/1.0\r\n\r\n" + smuggled, "200", closes},
		{"HTTP/1.0 that stays", "GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "200", goesOn},
		{"HTTP/1.2", line("GET /healthz HTTP/1.2"), "200", closes},
		{"HTTP/2.0", line("GET /healthz HTTP/2.0"), "505 http-version", closes},
		{"HTTP/2 with prior knowledge", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", "505 http-version", closes},
		{"HTTP/11.1", line("GET /healthz HTTP/11.1"), "400 bad-request", closes},
		{"HTTP/1.1 and a blank", line("GET /healthz HTTP/1.1 "), "400 bad-request", closes},
		{"http/1.1", line("GET /healthz http/1.1"), "400 bad-request", closes},
		{"another protocol", line("GET /healthz RTSP/1.0"), "400 bad-request", closes},
		{"two blanks", line("GET  /healthz HTTP/1.1"), "400 bad-request", closes},
		{"tabs", line("GET\t/healthz\tHTTP/1.1"), "400 bad-request", closes},
		{"a blank in front", line(" GET /healthz HTTP/1.1"), "400 bad-request", closes},
		{"a blank in the target", line("GET /health z HTTP/1.1"), "400 bad-request", closes},
		{"no target", line("GET HTTP/1.1"), "400 bad-request", closes},
		{"no method", line("/healthz HTTP/1.1"), "400 bad-request", closes},
		{"nothing but blanks", line("   "), "400 bad-request", closes},
		{"a header in the target", line("GET /healthz?\rX-Evil: 1 HTTP/1.1"), "400 bad-request", closes},
		{"NUL in the target", line("GET /health\x00z HTTP/1.1"), "400 bad-request", closes},
		{"DEL in the target", line("GET /health\x7fz HTTP/1.1"), "400 bad-request", closes},

		{"unknown method", head("BREW /healthz"), "405 method-not-allowed", goesOn},
		{"method in small letters", head("get /healthz"), "405 method-not-allowed", goesOn},
		{"long method", head(strings.Repeat("A", 4000) + " /healthz"), "405 method-not-allowed", goesOn},
		{"method with a colon", line("GE:T /healthz HTTP/1.1"), "400 bad-request", closes},
		{"method with NUL", line("GET\x00 /healthz HTTP/1.1"), "400 bad-request", closes},
		{"TRACE shows nothing", head("TRACE /api/session", "Cookie: id={ann}"), "405 method-not-allowed", goesOn},
		{"TRACK", head("TRACK /api/session"), "405 method-not-allowed", goesOn},
		{"CONNECT to elsewhere", head("CONNECT evil.example:443"), "404 not-found", goesOn},
		{"CONNECT to a path", head("CONNECT /healthz"), "405 method-not-allowed", goesOn},
		{"PUT on a login", bodied("PUT /api/session", annsJSON), "405 method-not-allowed", goesOn},
		{"HEAD changes nothing", head("HEAD /session/put?a=b", "Cookie: zsessionid={z}"), "HEAD 405", goesOn},
		{"another method by header", head("GET /api/sessions/x", "X-HTTP-Method-Override: DELETE"), "405 method-not-allowed", goesOn},
		{"websocket", head("GET /healthz", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: x"), "200", goesOn},
		{"h2c", head("GET /healthz", "Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABkAAQAAP__"), "200", goesOn},

		{"line of 8 KiB", head("GET /"+strings.Repeat("a", exchange.MaxHeader)) + smuggled, "413 limit-header", closes},
		{"query of 8 KiB", head("GET /healthz?"+strings.Repeat("a", exchange.MaxHeader)) + smuggled, "413 limit-header", closes},
		{"field of 8 KiB", head("GET /healthz", "A: "+strings.Repeat("a", exchange.MaxHeader)) + smuggled, "413 limit-header", closes},
		{"name of 8 KiB", head("GET /healthz", strings.Repeat("a", exchange.MaxHeader)+": a") + smuggled, "413 limit-header", closes},
		{"field of a megabyte", head("GET /healthz", "A: "+strings.Repeat("a", 1<<20)), "413 limit-header", closes},
		{"2000 fields", head("GET /healthz", strings.Repeat("a:b\r\n", 2000)+"c: d"), "413 limit-header", closes},
		{"1600 fields", head("GET /healthz", strings.Repeat("a:b\r\n", 1600)+"c: d"), "200", goesOn},
		{"8 KiB of empty lines", strings.Repeat("\r\n", exchange.MaxHeader), "", closes},
		{"8 KiB without a line", strings.Repeat("G", 2*exchange.MaxHeader), "413 limit-header", closes},
		{"zeros", strings.Repeat("\x00", 2*exchange.MaxHeader), "413 limit-header", closes},
	})
}

// What other programs say on this port.
func TestHostileProtocols(t *testing.T) {
	newHostileServer(t).run([]hostile{
		{"TLS", "\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + strings.Repeat("\x5a", 150) + "\n\x00\x00\r\n\r\n", "400 bad-request", closes},
		{"SSH", "SSH-2.0-OpenSSH_9.9\r\n", "400 bad-request", closes},
		{"SMTP", "EHLO evil.example\r\nMAIL FROM:<a@b>\r\n\r\n", "400 bad-request", closes},
		{"Redis", "*1\r\n$4\r\nPING\r\n\r\n", "400 bad-request", closes},
		{"memcached", "stats\r\n", "400 bad-request", closes},
		{"PROXY version 1 of a stranger", "PROXY TCP4 192.0.2.9 192.0.2.1 1 80\r\n" + head("GET /healthz"), "400 bad-request", closes},
		{"PROXY version 2 of a stranger", proxySignature + "\x21\x11\x00\x0c\xc0\x00\x02\x09\xc0\x00\x02\x01\x00\x01\x00\x50" + head("GET /healthz"), "400 bad-request", closes},
	})
}

// Host and target: which server, and which path, is meant.
func TestHostileTargets(t *testing.T) {
	host := func(fields ...string) string { return headOf("GET /healthz", fields...) + smuggled }
	get := func(path string) string { return head("GET "+path, "Cookie: id={ann}") }
	evil := []string{"Host: cloak.example", "Origin: http://evil.example", "Cookie: id={ann}"}
	newHostileServer(t).run([]hostile{
		{"no host", host(), "400 bad-request", closes},
		{"empty host", host("Host:"), "400 bad-request", closes},
		{"two hosts", host("Host: cloak.example", "Host: evil.example"), "400 bad-request", closes},
		{"one host twice", host("Host: cloak.example", "Host: cloak.example"), "400 bad-request", closes},
		{"two hosts in one", host("Host: cloak.example, evil.example"), "400 bad-request", closes},
		{"host with a path", host("Host: cloak.example/x"), "400 bad-request", closes},
		{"host with a user", host("Host: evil@cloak.example"), "400 bad-request", closes},
		{"host with a blank", host("Host: cloak example"), "400 bad-request", closes},
		{"host with two ports", host("Host: cloak.example:1:2"), "400 bad-request", closes},
		{"host with a port of letters", host("Host: cloak.example:http"), "400 bad-request", closes},
		{"host with an escape", host("Host: cloak%2eexample"), "400 bad-request", closes},
		{"host with NUL", host("Host: cloak.example\x00"), "400 bad-request", closes},
		{"host as an IPv6 address", headOf("GET /healthz", "Host: [2001:db8::1]:80"), "200", goesOn},
		{"host in capitals", headOf("GET /healthz", "Host: CLOAK.EXAMPLE"), "200", goesOn},
		{"host by other names", head("GET /healthz", "X-Forwarded-Host: evil.example", "X-Original-URL: /api/users", "X-Rewrite-URL: /api/users"), "200", goesOn},

		{"target with the host", head("GET http://cloak.example/healthz"), "200", goesOn},
		{"target with another host", head("GET http://evil.example/healthz") + smuggled, "400 bad-request", closes},
		{"target with a user", head("GET http://cloak.example@evil.example/healthz") + smuggled, "400 bad-request", closes},
		{"target that begins with a host", head("GET //evil.example/healthz?x=://") + smuggled, "400 bad-request", closes},
		{"login from a page, on the page's host", formRequest("POST //evil.example/z_security_check?x=://", annsLogin, "Origin: http://evil.example") + smuggled, "400 bad-request", closes},
		{"logout from a page, on the page's host", headOf("DELETE //evil.example/api/session?x=://", evil...), "400 bad-request", closes},
		{"logout from a page", headOf("DELETE /api/session", evil...), "403 foreign-origin", goesOn},
		{"logout from a page, by another scheme", headOf("DELETE x://evil.example/api/session", evil...), "400 bad-request", closes},
		{"target without a slash", head("GET healthz") + smuggled, "400 bad-request", closes},
		{"target *", head("GET *"), "404 not-found", goesOn},
		{"OPTIONS *", head("OPTIONS *"), "404 not-found", goesOn},
		{"fragment", get("/api/session#x") + smuggled, "400 bad-request", closes},
		{"fragment in a query", head("GET /session/put?a=b#c", "Cookie: zsessionid={z}") + smuggled, "400 bad-request", closes},

		{"up and down", get("/auth/../api/session"), "404 not-found", goesOn},
		{"above the root", get("/../../api/session"), "404 not-found", goesOn},
		{"here", get("/api/./session"), "404 not-found", goesOn},
		{"up at the end", get("/api/session/x/.."), "404 not-found", goesOn},
		{"up in escapes", get("/auth/%2e%2e/api/session"), "404 not-found", goesOn},
		{"up in half an escape", get("/auth/.%2e/api/session"), "404 not-found", goesOn},
		{"slash in escapes", get("/api%2fsession"), "404 not-found", goesOn},
		{"backslash", get(`/auth\..\api\session`), "404 not-found", goesOn},
		{"backslash in escapes", get("/auth%5c..%5capi/session"), "404 not-found", goesOn},
		{"letter in escapes", get("/api/%73ession"), "404 not-found", goesOn},
		{"escaped escapes", get("/auth/%252e%252e/api/session"), "404 not-found", goesOn},
		{"dot in three bytes", get("/auth/%c0%ae%c0%ae/api/session"), "404 not-found", goesOn},
		{"slash in two bytes", get("/api%c0%afsession"), "404 not-found", goesOn},
		{"NUL in escapes", get("/api/session%00"), "404 not-found", goesOn},
		{"line break in escapes", get("/api/session%0d%0aX-Evil:%201"), "404 not-found", goesOn},
		{"broken escape", get("/api/session%"), "404 not-found", goesOn},
		{"bytes that are no text", get("/api/session\xff\xfe"), "404 not-found", goesOn},
		{"parameter of a path", get("/api/session;jsessionid=1"), "404 not-found", goesOn},
		{"slash at the end", get("/api/session/"), "404 not-found", goesOn},
		{"capitals", get("/API/session"), "404 not-found", goesOn},
		{"two slashes are one", get("//api//session"), "200 ann", goesOn},
		{"file", get("/etc/passwd"), "404 not-found", goesOn},
		{"file by a long way", get(strings.Repeat("/..", 1000) + "/etc/passwd"), "404 not-found", goesOn},
		{"operator's path", get("/metrics"), "404 not-found", goesOn},
		{"control socket's path", head("GET /cluster", "Cookie: id={root}"), "404 not-found", goesOn},
		{"id with a slash", head("DELETE /api/sessions/x%2fy", "Cookie: id={root}"), "404 not-found", goesOn},
		{"id that is no handle", head("DELETE /api/sessions/x", "Cookie: id={root}"), "400 bad-handle", goesOn},
		{"handle of 4 KiB", head("DELETE /api/sessions/"+strings.Repeat("0", 4096), "Cookie: id={root}"), "400 bad-handle", goesOn},

		{"NUL in a query", jsonRequest("POST /api/session?realmName=native%00", annsJSON), "401 invalid-credentials", goesOn},
		{"broken escape in a query", jsonRequest("POST /api/session?realmName=%zz", annsJSON), "401 invalid-credentials", goesOn},
		{"realm of 4 KiB", jsonRequest("POST /api/session?realmName="+strings.Repeat("a", 4096), annsJSON), "401 invalid-credentials", goesOn},
		{"thousand parameters", get("/api/session?" + strings.Repeat("a=b&", 1000)), "200 ann", goesOn},
		{"page of nothing", head("GET /api/sessions?limit=0", "Cookie: id={root}"), "400 bad-field", goesOn},
		{"page of -1", head("GET /api/sessions?limit=-1", "Cookie: id={root}"), "400 bad-field", goesOn},
		{"page of too many", head("GET /api/users?limit="+strconv.Itoa(exchange.MaxPage+1), "Cookie: id={root}"), "400 bad-field", goesOn},
		{"page of far too many", head("GET /api/sessions?limit=99999999999999999999", "Cookie: id={root}"), "400 bad-field", goesOn},
		{"page after nonsense", head("GET /api/sessions?after=%00", "Cookie: id={root}"), "400 bad-handle", goesOn},
		{"page after a line break", head("GET /api/users?limit=1&after=%0d%0aX-Evil:%201", "Cookie: id={root}"), "200", goesOn},
	})
}
