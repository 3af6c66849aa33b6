package main

import (
	"fmt"

	"cloakroom/cluster/wire"
)

type keygenCmd struct{}

// Run implements the command keygen. The key goes to standard output alone, so that it can be redirected into a file:
// `(umask 077; cloakroom keygen >cluster.key)`.
func (*keygenCmd) Run(a *app) error {
	key, err := wire.NewClusterKey()
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(a.stdout, key.Encode()); err != nil {
		return fmt.Errorf("print the key: %w", err)
	}
	return nil
}
