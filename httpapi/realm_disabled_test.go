package httpapi

import (
	"net/url"
	"testing"

	"cloakroom/cluster/session"
	"cloakroom/httpapi/realm"
)

// Disabling a realm ends no session, as docs/realms.md says, and what that names for it does.
func TestDisabledRealmKeepsItsSessions(t *testing.T) {
	f := newFixture(t)
	f.fake.must(t, &session.CreateRealm{ID: "realm-own", Name: "own", Type: realm.TypeNative, Enabled: true})
	root := idCookie(f.create(session.Create{Username: "root"}))
	guest := idCookie(f.create(session.Create{Realm: "own", Username: "guest", UserID: "u-guest"}))
	f.expect(f.send("PUT", "/api/realm-configs/realm-own", root, jsonBody(`{"enabled":false}`)), 200, "")
	f.expect(f.send("GET", "/auth/verify", guest), 200, "")
	query := url.Values{"user": {"guest"}, "realm": {"own"}}
	f.expect(f.send("DELETE", "/api/sessions?"+query.Encode(), root), 204, "")
	f.expect(f.send("GET", "/auth/verify", guest), 401, "session-invalid")
}
