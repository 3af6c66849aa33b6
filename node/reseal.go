package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"cloakroom/cluster"
	"cloakroom/cluster/session"
	"cloakroom/cluster/wire"
	"cloakroom/httpapi/realm"
)

// resealInterval is how often the leader looks whether a realm's secrets are sealed under the cluster's first key: as long
// as one is not, no key may be taken away that it needs. Why it can't be is logged when that changes, and each resealReminder.
const (
	resealInterval = 5 * time.Second
	resealReminder = time.Minute
)

// reseal seals the secrets of realms anew while this node leads, when the cluster's first key is another one by now. It
// returns when ctx ends.
func (n *Node) reseal(ctx context.Context, sealer *realm.Authenticator) {
	resealOnAndOn(ctx, n.log, func() error {
		if !n.cluster.Leading() {
			return nil
		}
		return n.resealAll(ctx, sealer)
	})
}

func resealOnAndOn(ctx context.Context, log *slog.Logger, all func() error) {
	ticker := time.NewTicker(resealInterval)
	defer ticker.Stop()
	var told string // the error that was logged last, "" if all went well since
	var at time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		err := all()
		switch {
		case err == nil:
			told = ""
		case ctx.Err() == nil && (err.Error() != told || time.Since(at) >= resealReminder):
			log.Error("the secrets of realms are not all sealed under the first cluster key: keep the others in the file", "error", err)
			told, at = err.Error(), time.Now()
		}
	}
}

func (n *Node) resealAll(ctx context.Context, sealer *realm.Authenticator) error {
	var realms []*session.Realm
	modern := false
	err := n.cluster.Read(ctx, cluster.Local, func(m *session.Machine) { realms, modern = m.Realms(), m.Modern() })
	if err != nil || !modern { // without a revision in the command somebody's change could be undone
		return err
	}
	var errs []error
	for _, r := range realms {
		config, changed, err := sealer.Reseal(r.Type, r.Config)
		if err == nil && changed {
			_, err = n.cluster.Do(ctx, &session.UpdateRealm{ID: r.ID, Enabled: r.Enabled, RoleNames: r.RoleNames, Config: config, IfRev: r.Rev})
		}
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("realm %q: %w", r.Name, err))
		case changed:
			n.log.Info("a realm's secrets are sealed under the first cluster key", "realm", r.Name)
		}
	}
	return errors.Join(errs...)
}

// errKeyNeeded refuses to take a key away.
var errKeyNeeded = errors.New("a realm's secret is sealed under a key that is not in the file any more: put the old one back behind the new one, and take it out when the log of the leader says that it is not needed")

// checkKeysSuffice checks that the secrets of all realms can still be opened under these cluster keys.
func (n *Node) checkKeysSuffice(ctx context.Context, keys []wire.ClusterKey) error {
	derived := make([][32]byte, len(keys))
	for i, k := range keys {
		derived[i] = k.Derive(wire.PurposeSeal)
	}
	var realms []*session.Realm
	if err := n.cluster.Read(ctx, cluster.Local, func(m *session.Machine) { realms = m.Realms() }); err != nil {
		return err
	}
	for _, r := range realms {
		if err := realm.CheckSealed(r.Type, r.Config, derived); err != nil {
			return fmt.Errorf("realm %q: %w (%w)", r.Name, errKeyNeeded, err)
		}
	}
	return nil
}
