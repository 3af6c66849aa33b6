package httpapi

import (
	"encoding/base64"
	"net/netip"
	"strings"
	"testing"

	"cloakroom/httpapi/exchange"
	"cloakroom/httpapi/transport"
)

// Cookies and credentials that are broken, doubled or somebody else's.
func TestHostileCredentials(t *testing.T) {
	get := func(fields ...string) string { return head("GET /api/session", fields...) }
	basic := func(plain string) string {
		return get("Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(plain)))
	}
	good := base64.StdEncoding.EncodeToString([]byte("ann:" + testPassword))
	const none = "401 session-invalid"
	newHostileServer(t).run([]hostile{
		{"no cookie", get(), none, goesOn},
		{"empty cookie field", get("Cookie:"), none, goesOn},
		{"empty cookie", get("Cookie: id="), none, goesOn},
		{"cookie without a value", get("Cookie: id"), none, goesOn},
		{"nothing but separators", get("Cookie: ;;==;=;;"), none, goesOn},
		{"semicolon at the end", get("Cookie: id={ann};"), "200 ann", goesOn},
		{"attributes of an answer", get("Cookie: id={ann}; Path=/api; HttpOnly"), "200 ann", goesOn},
		{"in quotes", get(`Cookie: id="{ann}"`), "200 ann", goesOn},
		{"in one quote", get(`Cookie: id="{ann}`), none, goesOn},
		{"in capitals", get("COOKIE: id={ann}"), "200 ann", goesOn},
		{"name in capitals", get("Cookie: ID={ann}"), none, goesOn},
		{"other digits", get("Cookie: id=gggggggg-gggg-gggg-gggg-gggggggggggg"), none, goesOn},
		{"zeros", get("Cookie: id=00000000-0000-0000-0000-000000000000"), none, goesOn},
		{"a session that is over", get("Cookie: id={gone}"), none, goesOn},
		{"with more behind", get("Cookie: id={ann}0"), none, goesOn},
		{"in escapes", get("Cookie: id=%7bann%7d"), none, goesOn},
		{"two sessions", get("Cookie: id={ann}; id={ann2}"), none, goesOn},
		{"two sessions on two lines", get("Cookie: id={ann}", "Cookie: id={ann2}"), none, goesOn},
		{"two sessions, one over", get("Cookie: id={gone}; id={ann}"), none, goesOn},
		{"two sessions at the proxy's door", head("GET /auth/verify", "Cookie: id={ann}; id={root}"), none, goesOn},
		{"two sessions of the other surface", head("GET /session/get", "Cookie: zsessionid={z}; zsessionid={root}"), none, goesOn},
		{"one session twice", get("Cookie: id={ann}; id={ann}"), "200 ann", goesOn},
		{"thousand others", get("Cookie: " + strings.Repeat("a=b; ", 1000) + "id={ann}"), "200 ann", goesOn},
		{"thousand of the name", get("Cookie: " + strings.Repeat("id=b; ", 1000) + "id={ann}"), "200 ann", goesOn},
		{"seven KiB", get("Cookie: id=" + strings.Repeat("0", 7<<10)), none, goesOn},
		{"more than a header holds", get("Cookie: id=" + strings.Repeat("0", exchange.MaxHeader)), "413 limit-header", closes},
		{"NUL", get("Cookie: id={ann}\x00"), "400 bad-request", closes},
		{"other bytes", get("Cookie: id=\xff\xfe{ann}"), none, goesOn},
		{"on two lines", get("Cookie: id=", " {ann}"), "400 bad-request", closes},

		{"no credentials", get("Authorization:"), none, goesOn},
		{"Basic and nothing", get("Authorization: Basic"), none, goesOn},
		{"Basic and blanks", get("Authorization: Basic   "), none, goesOn},
		{"Basic without a colon", basic("ann"), "401 invalid-credentials", goesOn},
		{"Basic with nothing but a colon", basic(":"), "401 invalid-credentials", goesOn},
		{"Basic that is no base64", get("Authorization: Basic !!!!"), "401 invalid-credentials", goesOn},
		{"Basic that is cut", get("Authorization: Basic " + good[:len(good)-3]), "401 invalid-credentials", goesOn},
		{"Basic with more behind", get("Authorization: Basic " + good + " x"), "401 invalid-credentials", goesOn},
		{"Basic that is no UTF-8", basic("ann\xff:" + testPassword), "401 invalid-credentials", goesOn},
		{"Basic with NUL", basic("ann\x00:" + testPassword), "401 invalid-credentials", goesOn},
		{"Basic with a line break", basic("ann\r\nX-Evil: 1:" + testPassword), "401 invalid-credentials", goesOn},
		{"Basic of 6 KiB", basic("ann:" + strings.Repeat("p", 4500)), "401 invalid-credentials", goesOn},
		{"basic in small letters", get("Authorization: basic " + good), "200 ann", goesOn},
		{"wrong Basic beside a good cookie", get("Authorization: Basic "+good[4:], "Cookie: id={ann}"), "401 invalid-credentials", goesOn},
		{"two credentials", get("Authorization: Basic "+good[4:], "Authorization: Basic "+good), "400 bad-request", closes},
		{"Bearer", get("Authorization: Bearer {ann}"), none, goesOn},
		{"Bearer beside a good cookie", get("Authorization: Bearer x", "Cookie: id={ann}"), "200 ann", goesOn},
		{"Digest", get(`Authorization: Digest username="ann"`), none, goesOn},
		{"Negotiate", get("Authorization: Negotiate " + strings.Repeat("A", 4000)), none, goesOn},
		{"credentials for a proxy", get("Proxy-Authorization: Basic " + good), none, goesOn},

		{"login over a session that is over", jsonRequest("POST /api/session", annsJSON, "Cookie: id={gone}"), "201", goesOn},
		{"login over two sessions", jsonRequest("POST /api/session", annsJSON, "Cookie: id={ann}; id={ann2}"), "201", goesOn},
		{"logout of nobody", head("DELETE /api/session"), none, goesOn},
		{"logout of two", head("DELETE /api/session", "Cookie: id={ann}; id={ann2}") + get("Cookie: id={ann}") + get("Cookie: id={ann2}"), none + "; 200; 200", goesOn},
		{"logout twice", strings.Repeat(head("DELETE /api/session", "Cookie: id={ann}"), 2), "204; " + none, goesOn},
	})
}

// Fields that a proxy sets, from a client that makes them up, and values that would write fields of the answer.
func TestHostileFields(t *testing.T) {
	verify := func(fields ...string) string { return head("GET /auth/verify", append(fields, "Cookie: id={ann}")...) }
	login := func(fields ...string) string { return jsonRequest("POST /api/session", annsJSON, fields...) }
	form := func(line, back string) string { return formRequest(line, annsLogin+"&z_return="+back) }
	const check = "POST /z_security_check"
	newHostileServer(t).run([]hostile{
		{"somebody else's name", verify("Remote-User: root", "Remote-Groups: admin", "Remote-Realm: other"), "200 ann", goesOn},
		{"somebody else's name without a session", head("GET /auth/verify", "Remote-User: root", "X-Remote-User: root", "X-Forwarded-User: root"), "401 session-invalid", goesOn},
		{"a name in two cases", verify("REMOTE_USER: root", "remote-user: root"), "200 ann", goesOn},
		{"weaker reads", head("GET /api/session", "Consistency: local", "Cookie: id={ann}"), "400 bad-consistency", goesOn},
		{"weaker reads at the proxy's door", verify("Consistency: local"), "200 ann", goesOn},
		{"request id with a field in it", head("GET /api/session", "X-Request-Id: x\tX-Evil: 1"), "401 session-invalid", goesOn},
		{"an address with a field in it", login("X-Forwarded-For: 192.0.2.1\tX-Evil: 1"), "201", goesOn},
		{"a thousand addresses", login("X-Forwarded-For: " + strings.Repeat("192.0.2.1,", 500) + "192.0.2.1"), "201", goesOn},
		{"user agent of other bytes", login("User-Agent: \xff\xfe\t" + strings.Repeat("a", 4000)), "201", goesOn},

		{"foreign page", login("Origin: http://evil.example"), "403 foreign-origin", goesOn},
		{"foreign page's sandbox", login("Origin: null"), "403 foreign-origin", goesOn},
		{"foreign page's frame", login("Sec-Fetch-Site: cross-site"), "403 foreign-origin", goesOn},
		{"foreign page and another word", login("Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-origin"), "403 foreign-origin", goesOn},
		{"origin that is no address", login("Origin: http://cloak.example%00.evil.example"), "403 foreign-origin", goesOn},
		{"origin with a user", login("Origin: http://cloak.example@evil.example"), "403 foreign-origin", goesOn},
		{"login by a link", head("GET /z_security_check?"+annsLogin, "Sec-Fetch-Site: none"), "403 forbidden", goesOn},

		{"back to the index", form(check, ""), "302 /index.csp", goesOn},
		{"back to a path", form(check, "/session/get?key=a"), "302 /session/get?key=a", goesOn},
		{"back by a line break", form(check, "/%0d%0aX-Evil:%201"), "302 /index.csp", goesOn},
		{"back by a line feed", form(check, "/%0aSet-Cookie:evil=1"), "302 /index.csp", goesOn},
		{"back by characters that end in a line break", form(check, "/%e5%98%8a%e5%98%8dX-Evil:%201"), "302 /index.csp", goesOn},
		{"back to another host", form(check, "http://evil.example/"), "302 /index.csp", goesOn},
		{"back to another host by slashes", form(check, "//evil.example/"), "302 /index.csp", goesOn},
		{"back to another host by a backslash", form(check, "/%5cevil.example/"), "302 /index.csp", goesOn},
		{"back to another host by a tab", form(check, "/%09/evil.example/"), "302 /index.csp", goesOn},
		{"back to a script", form(check, "javascript:alert(1)"), "302 /index.csp", goesOn},
		{"back to 4 KiB", form(check, "/"+strings.Repeat("a", 4096)), "302 /index.csp", goesOn},
		{"back from the query", form(check+"?z_return=//evil.example/", "/x"), "302 /x", goesOn},
		{"page with a script", head(`GET /index.csp?z_return=/"><script>`), "200 page", goesOn},
		{"page with a line break", head("GET /index.csp?z_return=/%0d%0aX-Evil:%201"), "200 page", goesOn},
		{"wrong password and a script", formRequest(check, `z_username="><script>&z_password=x&z_return="><script>`), "401 page", goesOn},
		{"no password", formRequest(check, "z_username=ann"), "401 page", goesOn},
		{"token that nobody has issued", formRequest(check, annsLogin, "Cookie: zsessionid="+strings.Repeat("0", 64)), "401 page", goesOn},
		{"pages for everything", head("GET /session/get", "Accept: "+strings.Repeat("text/html;q=0.9,", 400)), "401 page", goesOn},
		{"weight that is none", head("GET /session/get", "Accept: text/html;q=NaN"), "401 session-invalid", goesOn},
	})
}

// What a trusted proxy puts in front of the client's bytes, broken.
func TestHostileProxyHeaders(t *testing.T) {
	get, hidden := head("GET /healthz"), head("DELETE /api/session", "Cookie: id="+victim)
	v2 := func(command, family byte, length int, rest string) string {
		return proxySignature + string([]byte{command, family, byte(length >> 8), byte(length)}) + rest
	}
	trusting := func(f *fixture) { f.clients.Trusted = transport.Proxies{netip.MustParsePrefix("127.0.0.0/8")} }
	newHostileServer(t, trusting).run([]hostile{
		{"none", get, "200", goesOn},
		{"good", "PROXY TCP4 192.0.2.9 192.0.2.1 1 80\r\n" + get, "200", goesOn},
		{"twice", strings.Repeat("PROXY TCP4 192.0.2.9 192.0.2.1 1 80\r\n", 2) + hidden, "400 bad-request", closes},
		{"again on the connection", get + "PROXY TCP4 192.0.2.9 192.0.2.1 1 80\r\n" + hidden, "200; 400 bad-request", closes},
		{"no address", "PROXY TCP4\r\n" + hidden, "400 bad-request", closes},
		{"address that is none", "PROXY TCP4 999.0.2.9 192.0.2.1 1 80\r\n" + hidden, "400 bad-request", closes},
		{"address of the other family", "PROXY TCP6 192.0.2.9 192.0.2.1 1 80\r\n" + hidden, "400 bad-request", closes},
		{"port that is none", "PROXY TCP4 192.0.2.9 192.0.2.1 99999 80\r\n" + hidden, "400 bad-request", closes},
		{"unknown family", "PROXY UDP4 192.0.2.9 192.0.2.1 1 80\r\n" + hidden, "400 bad-request", closes},
		{"without an end", "PROXY TCP4 " + strings.Repeat("1", 200) + "\r\n" + hidden, "400 bad-request", closes},
		{"ends in LF", "PROXY TCP4 192.0.2.9 192.0.2.1 1 80\n" + hidden, "400 bad-request", closes},
		{"version 2, good", v2(0x21, 0x11, 12, "\xc0\x00\x02\x09\xc0\x00\x02\x01\x00\x01\x00\x50") + get, "200", goesOn},
		{"version 2 of version 3", v2(0x31, 0x11, 12, "123456789012") + hidden, "400 bad-request", closes},
		{"version 2, unknown command", v2(0x22, 0x11, 12, "123456789012") + hidden, "400 bad-request", closes},
		{"version 2, too short for an address", v2(0x21, 0x11, 4, "1234") + hidden, "400 bad-request", closes},
		{"version 2, longer than may be", v2(0x21, 0x11, 1<<15, "") + hidden, "400 bad-request", closes},
		{"version 2, broken signature", proxySignature[:8] + "XXXX\x21\x11\x00\x00" + hidden, "400 bad-request", closes},
	})
}
