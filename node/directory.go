package main

import (
	"context"

	"cloakroom/cluster"
	"cloakroom/cluster/session"
	"cloakroom/httpapi/access"
	"cloakroom/httpapi/admin"
	"cloakroom/httpapi/realm"
)

// directory gives the realms the cluster's records. A login is always checked against the state of now, whatever
// level lookups have: a password that was changed a moment ago must not let anybody in.
type directory struct{ cluster *cluster.Cluster }

var _ realm.Directory = directory{}

// User implements realm.Directory.
func (d directory) User(ctx context.Context, realmName, username string) (user *session.User, of *session.Realm, err error) {
	err = d.cluster.Read(ctx, cluster.Quorum, func(m *session.Machine) {
		user, _ = m.UserByName(realmName, username)
		of, _ = m.RealmByName(realmName)
	})
	if err != nil {
		return nil, nil, err
	}
	return user, of, nil
}

var _ admin.Membership = (*cluster.Cluster)(nil)

// served is the cluster as the API wants it: its list of members asks the others, and must end when they are silent.
type served struct{ *cluster.Cluster }

var _ access.Cluster = served{}

// Members implements access.Cluster.
func (s served) Members() []cluster.Member {
	ctx, cancel := context.WithTimeout(context.Background(), MembersTimeout)
	defer cancel()
	return s.Cluster.Members(ctx)
}

// backups is how the API has the state of the cluster captured.
type backups struct{ cluster *cluster.Cluster }

var _ admin.Backups = backups{}

// Backup implements admin.Backups.
func (b backups) Backup(ctx context.Context, level cluster.Level) (admin.Backup, error) {
	source, err := b.cluster.Backup(ctx, level)
	if err != nil {
		return nil, err
	}
	source.Info.Program = buildVersion()
	return source, nil
}
