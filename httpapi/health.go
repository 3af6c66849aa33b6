package httpapi

import (
	"errors"
	"sync/atomic"

	"cloakroom/cluster"
	"cloakroom/httpapi/access"
	"cloakroom/httpapi/exchange"
)

// health says how this node is, and sees the cluster.
type health struct {
	draining atomic.Bool // this server is to stop
	visits   visits      // since then, and who asks for its health
	state    *access.State
}

// healthz says that the process answers. It must not depend on the cluster: a node without a leader is not to be
// restarted.
func (h *health) healthz(rc *exchange.Request) error {
	return exchange.WriteJSON(rc, 200, statusBody{"ok"})
}

// readyz says whether to send requests here: 503 with the reason when not.
func (h *health) readyz(rc *exchange.Request) error {
	if !rc.Control {
		h.visits.check()
	}
	if err := h.ready(); err != nil {
		return err
	}
	return exchange.WriteJSON(rc, 200, statusBody{"ready"})
}

func (h *health) ready() error {
	if h.draining.Load() {
		return cluster.ErrDraining
	}
	return h.state.Cluster.Ready()
}

type statusBody struct {
	Status string `json:"status"`
}

// clusterBody is the body of GET /cluster.
type clusterBody struct {
	ClusterID string       `json:"clusterId"`
	Leader    string       `json:"leader"` // "": none
	Term      uint64       `json:"term"`
	Version   uint8        `json:"version"` // of commands: the newest that all members know
	Members   []memberBody `json:"members"`
}

type memberBody struct {
	ID           string `json:"id"`
	Name         string `json:"name"`
	HTTP         string `json:"http"`
	Peer         string `json:"peer"`
	Role         string `json:"role"`
	State        string `json:"state"`
	AppliedIndex uint64 `json:"appliedIndex"` // 0: not known
	Leader       bool   `json:"leader,omitempty"`
	Draining     bool   `json:"draining,omitempty"`
	DiskLow      bool   `json:"diskLow,omitempty"`
	MemoryFull   bool   `json:"memoryFull,omitempty"`
	ReadReplica  bool   `json:"readReplica,omitempty"`
	Pin          string `json:"pin,omitempty"` // an operator's word on its vote: "voter", "non-voter"
	Self         bool   `json:"self,omitempty"`
	Version      uint8  `json:"version"` // the newest commands that its program knows; 0: not known
}

// clusterView is how this node sees the cluster.
func (h *health) clusterView() clusterBody {
	stats := h.state.Cluster.Stats()
	body := clusterBody{ClusterID: stats.ClusterID, Leader: stats.Leader, Term: stats.Term, Version: stats.Version, Members: []memberBody{}}
	for _, m := range h.state.Cluster.Members() {
		body.Members = append(body.Members, memberBody{
			ID: m.ID, Name: m.Name, HTTP: m.HTTP, Peer: m.Peer, Role: m.Role, State: m.State, AppliedIndex: m.AppliedIndex,
			Leader: m.Leader, Draining: m.Draining || m.Self && errors.Is(h.ready(), cluster.ErrDraining), Self: m.Self,
			DiskLow: m.DiskLow, MemoryFull: m.MemoryFull,
			ReadReplica: m.ReadReplica, Pin: m.Pin, Version: m.Version,
		})
	}
	return body
}

// getCluster is GET /cluster on the control socket. The operator's listener has it, too; the API asks for a login:
// listMembers.
func (h *health) getCluster(rc *exchange.Request) error {
	return exchange.WriteJSON(rc, 200, h.clusterView())
}
