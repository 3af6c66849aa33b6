package access

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"time"

	"cloakroom/cluster"
	"cloakroom/cluster/session"
	"cloakroom/httpapi/credential"
	"cloakroom/httpapi/exchange"
	"cloakroom/httpapi/realm"
	"cloakroom/httpapi/transport"
)

// Credentials of the header Authorization, and what a proxy says in headers of its own. A bearer token is one of two
// things: the token of a session that was made to be sent so (POST /oauth2/token), which says so by its prefix, or a JWT,
// which has two dots.

// LookupOf looks a session up by what the request carries its token in. A token is good in the one place that it was
// made for: what a script keeps must not become a browser's cookie, nor the other way round. The error is
// ErrSessionInvalid in both cases, or that of the lookup.
func (a *Callers) LookupOf(rc *exchange.Request, v credential.Cookie, level cluster.Level) (session.View, error) {
	rc.Bearer = v.Bearer
	view, err := a.state.lookup(rc, v.Key, level)
	if err == nil && (view.Session.Surface == session.SurfaceBearer) != v.Bearer {
		return session.View{}, session.ErrSessionInvalid
	}
	return view, err
}

// Evidence returns what the request brings along instead of a password, for the realm that it names: a JWT, whatever
// the realm, or a user's name from a proxy where the realm is one of headers. password says that it has one of those as well.
// Nothing of it may be kept.
func (d *Door) Evidence(rc *exchange.Request, password bool) (*realm.Evidence, bool) {
	if len(rc.Ctx.URI().QueryString()) == 0 || !rc.Ctx.QueryArgs().Has("realmName") {
		return nil, false
	}
	ev := &realm.Evidence{Other: password, Peer: transport.SocketAddr(rc.Ctx.Conn()), Headers: exchange.HeadLines(&rc.Ctx.Request.Header)}
	if token, ok := rc.Schemed("Bearer"); ok && exchange.IsJWT(token) {
		ev.Bearer = string(token)
		return ev, true
	}
	ev.Other = password || len(rc.Authorization) > 0
	return ev, d.namedByProxy(rc, ev)
}

// namedByProxy reports whether the request names a realm of type header, comes from one of its proxies, and has the header
// with the user's name. A request that does not has other credentials, and they must not depend on whether a check
// could be made: it is for these alone that a try is reserved. This node's own idea of the realm will do: to be late costs
// a refusal, and the check itself asks the cluster.
func (d *Door) namedByProxy(rc *exchange.Request, ev *realm.Evidence) bool {
	name := exchange.RealmParam(rc)
	var config []byte
	err := d.state.Cluster.Read(d.state.Deadlines.Until(rc.Start), cluster.Local, func(m *session.Machine) {
		if r, ok := m.RealmByName(name); ok && r.Type == realm.TypeHeader {
			config = r.Config
		}
	})
	if err != nil || config == nil {
		return false
	}
	c := struct {
		UserHeader string   `json:"userHeader"`
		Proxies    []string `json:"proxies"`
	}{UserHeader: "X-Forwarded-User"}
	if json.Unmarshal(config, &c) != nil {
		return true // the check says what is wrong with it
	}
	peer := ev.Peer.Unmap().WithZone("")
	if !slices.ContainsFunc(c.Proxies, func(proxy string) bool { return isProxy(proxy, peer) }) {
		return false
	}
	for header, value := range ev.Headers {
		if len(value) > 0 && foldHeader(string(header)) == foldHeader(c.UserHeader) {
			return true
		}
	}
	return false
}

// isProxy reports whether an address is the one, or in the network, that a realm's configuration names.
func isProxy(proxy string, peer netip.Addr) bool {
	if prefix, err := netip.ParsePrefix(proxy); err == nil {
		return prefix.Contains(peer)
	}
	addr, err := netip.ParseAddr(proxy)
	return err == nil && addr == peer
}

// foldHeader makes names the same that the check takes for the same: without regard to case, and with one character for
// all that are neither letter nor digit.
func foldHeader(name string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
			return c
		case 'A' <= c && c <= 'Z':
			return c + 'a' - 'A'
		}
		return '-'
	}, name)
}

// verifyEvidence asks the authenticator about what a request brings along. Errors are those of verifyCredentials, and
// realm.ErrNoEvidence and ErrTwoCredentials.
func (d *Door) verifyEvidence(rc *exchange.Request, realmName string, ev *realm.Evidence) (realm.Identity, error) {
	a := attempt{realm: realmName, user: d.evidenceKey(rc, ev)}
	return d.try(rc, a, func(ctx context.Context) (realm.Identity, error) {
		return d.Authenticator.AuthenticateRequest(ctx, realmName, *ev)
	})
}

// evidenceKey returns what a try by evidence is counted by in a user's place. Who it is about is not known before the
// check, and what it claims must not count: a stranger could hold a user up by it from anywhere. So it is the token's own
// counter at this address. No user's name has a blank in it.
func (d *Door) evidenceKey(rc *exchange.Request, ev *realm.Evidence) string {
	hash := sha256.Sum256([]byte(ev.Bearer))
	return "evidence " + d.clients.addressOf(rc) + " " + hex.EncodeToString(hash[:8])
}

// identify checks what a login came with.
func (d *Door) identify(rc *exchange.Request, p LoginParams) (realm.Identity, error) {
	if p.Evidence != nil {
		return d.verifyEvidence(rc, p.Realm, p.Evidence)
	}
	return d.verifyCredentials(rc, p.Realm, p.Username, p.Password)
}

// lifetimeOf returns how long a session of that identity may last. The error is realm.ErrTokenExpired.
func (l *Logins) lifetimeOf(identity realm.Identity) (time.Duration, error) {
	if identity.Until.IsZero() {
		return l.Lifetime, nil
	}
	left := time.Until(identity.Until).Truncate(time.Millisecond)
	if left <= 0 { // within the leeway: good for a call, not for a session
		return 0, realm.ErrTokenExpired
	}
	return min(l.Lifetime, left), nil
}
