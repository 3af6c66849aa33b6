package cluster

import (
	"context"
	"fmt"
	"time"

	"cloakroom/cluster/backup"
	"cloakroom/cluster/keyring"
	"cloakroom/cluster/session"
)

// Backup captures the state for a backup, under the first data key if there are any. At level Local it is what this node
// has; at any other, all that was acknowledged before the call. The source is to be written, or released.
func (c *Cluster) Backup(ctx context.Context, level Level) (*backup.Source, error) {
	info := backup.Info{Node: c.cfg.Name, Level: backup.Local, Made: time.Now().UTC()}
	if level != Local {
		info.Level = backup.Quorum
		if err := c.Read(ctx, Quorum, func(*session.Machine) {}); err != nil {
			return nil, err
		}
	}
	capture, err := c.raft.Capture(info.Describe)
	if err != nil {
		return nil, fmt.Errorf("capture the state: %w", err)
	}
	if info.Cluster == "" {
		capture.Release()
		return nil, ErrJoining
	}
	var key *keyring.Key
	if c.cfg.DataKeys != nil {
		first := c.cfg.DataKeys.First()
		key = &first
	}
	return backup.NewSource(info, capture, key), nil
}
