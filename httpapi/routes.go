package httpapi

import "cloakroom/httpapi/exchange"

// routes is the whole surface. Each of the three prefixes of the M/Monit surface has the same four calls. Dispatch has done
// this much before a handler runs: framing and limits, CORS, the method, and the origin check for what is marked as changing.
func (s *parts) routes(openAPI []byte) []*exchange.Route {
	at, vital, control := exchange.At, exchange.Vital, exchange.Control
	get, post, put, del := exchange.Get, exchange.Post, exchange.Put, exchange.Del
	changingGet, readingPost := exchange.ChangingGet, exchange.ReadingPost
	list := []*exchange.Route{
		at("/api/session", get(s.ownSession.getSession), post(s.ownSession.postSession), del(s.ownSession.deleteSession)),
		at("/auth/verify", get(s.forwardAuth.verify)),
		at("/auth/forward", get(s.forwardAuth.forward)),
		at("/oauth2/token", post(s.oauth.oauthToken)),
		at("/oauth2/revoke", post(s.oauth.oauthRevoke)),

		at("/api/sessions", get(s.sessions.listSessions), post(s.bulk.createSessions), del(s.sessions.endSessions)),
		at("/api/sessions/", del(s.sessions.endSession)),
		at("/api/sessions/{}/why", get(s.sessions.why)),
		at("/api/sessions/verify", post(s.checker.verifySessions)),
		at("/api/limits", get(s.admin.Limits.GetLimits), put(s.admin.Limits.PutLimits)),

		at("/api/users", get(s.admin.Users.ListUsers), post(s.admin.Users.CreateUser)),
		at("/api/users/", get(s.admin.Users.GetUser), put(s.admin.Users.UpdateUser), del(s.admin.Users.DeleteUser)),
		at("/api/roles", get(s.admin.Roles.ListRoles), post(s.admin.Roles.CreateRole)),
		at("/api/roles/", get(s.admin.Roles.GetRole), put(s.admin.Roles.UpdateRole), del(s.admin.Roles.DeleteRole)),
		at("/api/realm-configs", get(s.admin.Realms.ListRealms), post(s.admin.Realms.CreateRealm)),
		at("/api/realm-configs/", get(s.admin.Realms.GetRealm), put(s.admin.Realms.UpdateRealm), del(s.admin.Realms.DeleteRealm)),

		at("/api/cluster/members", get(s.admin.Members.ListMembers)),
		at("/api/cluster/members/", del(s.admin.Members.RemoveMember)),
		at("/api/cluster/members/{}/promote", post(s.admin.Members.PromoteMember)),
		at("/api/cluster/members/{}/demote", post(s.admin.Members.DemoteMember)),
		at("/api/cluster/leader", post(s.admin.Members.TransferLeadership)),
		at("/api/cluster/backup", post(s.admin.Backups.MakeBackup)),
		at("/api/cluster/drain", post(s.admin.Members.Drain)),
		at("/api/log-level", get(s.admin.LogLevel.GetLogLevel), put(s.admin.LogLevel.PutLogLevel)),

		at("/index.csp", get(s.monit.Index)),
		at("/z_security_check", changingGet(s.monit.Login), post(s.monit.Login)),
		at("/login/logout.csp", changingGet(s.monit.Logout), post(s.monit.Logout)),

		at("/openapi.json", get(document(openAPI))),
		vital(at("/healthz", get(s.health.healthz))),
		vital(at("/readyz", get(s.health.readyz))),
		control(at("/cluster", get(s.health.getCluster))),
		control(at("/support-bundle", get(s.supports.getBundle))),
	}
	for _, prefix := range []string{"/api/2/session", "/api/1/session", "/session"} {
		list = append(list,
			at(prefix+"/put", changingGet(s.monit.Put), post(s.monit.Put)),
			at(prefix+"/get", get(s.monit.Get), readingPost(s.monit.Get)),
			at(prefix+"/delete", changingGet(s.monit.Delete), post(s.monit.Delete)),
			at(prefix+"/invalidate", changingGet(s.monit.Invalidate), post(s.monit.Invalidate)),
		)
	}
	return list
}
