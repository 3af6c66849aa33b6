package httpapi

import (
	"errors"

	"cloakroom/cluster"
)

// healthz says that the process answers. It must not depend on the cluster: a node without a leader is not to be
// restarted.
func (s *Server) healthz(rc *request) error {
	return writeJSON(rc, 200, statusBody{"ok"})
}

// readyz says whether to send requests here: 503 with the reason when not.
func (s *Server) readyz(rc *request) error {
	if err := s.ready(); err != nil {
		return err
	}
	return writeJSON(rc, 200, statusBody{"ready"})
}

func (s *Server) ready() error {
	if s.draining.Load() {
		return cluster.ErrDraining
	}
	return s.cluster.Ready()
}

type statusBody struct {
	Status string `json:"status"`
}

// clusterBody is the body of GET /cluster.
type clusterBody struct {
	ClusterID string       `json:"clusterId"`
	Leader    string       `json:"leader"` // "": none
	Term      uint64       `json:"term"`
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
	Draining     bool   `json:"draining,omitempty"` // known of this node alone
	ReadReplica  bool   `json:"readReplica,omitempty"`
	Pin          string `json:"pin,omitempty"` // an operator's word on its vote: "voter", "non-voter"
	Self         bool   `json:"self,omitempty"`
}

// clusterView is how this node sees the cluster.
func (s *Server) clusterView() clusterBody {
	stats := s.cluster.Stats()
	body := clusterBody{ClusterID: stats.ClusterID, Leader: stats.Leader, Term: stats.Term, Members: []memberBody{}}
	for _, m := range s.cluster.Members() {
		body.Members = append(body.Members, memberBody{
			ID: m.ID, Name: m.Name, HTTP: m.HTTP, Peer: m.Peer, Role: m.Role, State: m.State, AppliedIndex: m.AppliedIndex,
			Leader: m.Leader, Draining: m.Self && errors.Is(s.ready(), cluster.ErrDraining), Self: m.Self,
			ReadReplica: m.ReadReplica, Pin: m.Pin,
		})
	}
	return body
}

// getCluster is GET /cluster on the control socket. The operator's listener has it, too; the API asks for a login:
// listMembers.
func (s *Server) getCluster(rc *request) error {
	return writeJSON(rc, 200, s.clusterView())
}
