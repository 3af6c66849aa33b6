package admin

import (
	"context"

	"cloakroom/cluster/session"
	"cloakroom/httpapi/realm"
)

// Hasher makes the stored form of a password.
type Hasher interface {
	HashPassword(ctx context.Context, password string) (session.Secret, error)
	Stats() realm.HasherStats
}

// Sealer checks a realm's configuration and seals the secrets in it.
type Sealer interface {
	SealConfig(realmType string, config []byte) ([]byte, error)
}

var (
	_ Sealer = (*realm.Authenticator)(nil)
	_ Hasher = (*realm.Hasher)(nil)
)
