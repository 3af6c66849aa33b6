package main

import (
	"context"
	"errors"
	"os"
	"strings"

	"cloakroom/cluster/keyring"
	"cloakroom/cluster/wire"
)

// secrets are the keys that a node is started with. Their files are read again at SIGHUP.
type secrets struct {
	cluster *wire.KeyRing
	data    *keyring.Ring // nil: what is stored is not encrypted
}

// secrets reads the files with keys; without one for the cluster it is the development key, which Validate keeps on
// loopback.
func (a *app) secrets(cfg *Config) (secrets, error) {
	s := secrets{cluster: wire.DevelopmentRing()}
	if cfg.ClusterKeyFile != "" {
		keys, err := a.clusterKeys(cfg)
		if err != nil {
			return s, err
		}
		if s.cluster, err = wire.NewKeyRing(keys...); err != nil {
			return s, flagErrorf("cluster-key-file", "%s: %v", cfg.ClusterKeyFile, err)
		}
	}
	if cfg.DataKeyFile != "" {
		keys, err := a.dataKeys(cfg, s.cluster)
		if err != nil {
			return s, err
		}
		if s.data, err = keyring.New(keys); err != nil {
			return s, flagErrorf("data-key-file", "%s: %v", cfg.DataKeyFile, err)
		}
	}
	return s, nil
}

func (a *app) clusterKeys(cfg *Config) ([]wire.ClusterKey, error) {
	text, err := a.secretFile(cfg.ClusterKeyFile, MaxKeyFile)
	if err != nil {
		return nil, flagErrorf("cluster-key-file", "%v", err)
	}
	keys, err := wire.ParseKeys(text)
	if err != nil {
		return nil, flagErrorf("cluster-key-file", "%s: %v", cfg.ClusterKeyFile, err)
	}
	return keys, cfg.checkBind(keys[0])
}

// dataKeys reads the keys of what is stored. A cluster key among them would be a mistake: who steals the disk of a node
// and learns how it was encrypted must not be able to join the cluster with that.
func (a *app) dataKeys(cfg *Config, cluster *wire.KeyRing) ([]keyring.Key, error) {
	text, err := a.secretFile(cfg.DataKeyFile, keyring.MaxFile)
	if err != nil {
		return nil, flagErrorf("data-key-file", "%v", err)
	}
	keys, err := keyring.Parse([]byte(text))
	if err != nil {
		return nil, flagErrorf("data-key-file", "%s: %v", cfg.DataKeyFile, err)
	}
	for _, key := range keys {
		for _, other := range cluster.Keys() {
			if key.Encode() == other.Encode() {
				return nil, flagErrorf("data-key-file", "%s: holds a key of the cluster: make another one with keygen", cfg.DataKeyFile)
			}
		}
	}
	return keys, nil
}

// reloads reads again what may change, at each SIGHUP, until ctx ends. It has a goroutine of its own: a file may be a pipe
// that nobody writes to, or lie on a disk that does not answer, and the order to stop must be heard all the same.
func (a *app) reloads(ctx context.Context, node *Node, hangups <-chan os.Signal) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangups:
			a.reload(ctx, node)
		}
	}
}

// reload reads again what may change under a running node: keys, the API's certificate, and where the audit log is. What
// can't be read stays as it is, and the log says why.
func (a *app) reload(ctx context.Context, node *Node) {
	var errs []error
	cfg := &node.cfg
	if cfg.ClusterKeyFile != "" {
		errs = append(errs, a.reloadClusterKeys(ctx, node))
	}
	if cfg.DataKeyFile != "" {
		keys, err := a.dataKeys(cfg, node.secrets.cluster)
		if err == nil {
			err = node.cluster.ReplaceDataKeys(keys)
		}
		errs = append(errs, err)
	}
	if cfg.TLSCert != "" {
		errs = append(errs, node.server.ReloadCertificate())
	}
	errs = append(errs, node.audit.Reopen())
	if err := errors.Join(errs...); err != nil {
		node.log.Error("not everything could be read again: mend it, and send SIGHUP once more", "error", err)
		return
	}
	node.log.Info("keys, certificate and audit log were read again", node.inForce()...)
}

// reloadClusterKeys reads the cluster's keys again, and takes them if that cuts this node off from nobody and every
// realm's secret can still be opened.
func (a *app) reloadClusterKeys(ctx context.Context, node *Node) error {
	keys, err := a.clusterKeys(&node.cfg)
	if err != nil {
		return err
	}
	if err := node.checkKeysSuffice(ctx, keys); err != nil {
		return err
	}
	unasked, err := node.cluster.ReplaceKeys(ctx, keys)
	if len(unasked) > 0 && err == nil {
		node.log.Warn("the cluster keys have changed, and members that were not reached don't know: give them the new file, with the former key as its last line, before they are started", "members", strings.Join(unasked, ", "))
	}
	return err
}

// inForce is what a log line says of the keys that the node goes by: the ids that metrics have, in the order of the file.
func (n *Node) inForce() (args []any) {
	if n.cfg.ClusterKeyFile != "" {
		args = append(args, "cluster_keys", n.secrets.cluster.IDs())
	}
	if n.secrets.data != nil {
		args = append(args, "data_keys", n.secrets.data.IDs())
	}
	return args
}
