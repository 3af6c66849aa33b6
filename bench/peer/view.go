package peer

import (
	"encoding/json"
	"fmt"
)

// clusterView is what a node's operator listener says of the cluster.
type clusterView struct {
	Leader  string `json:"leader"`
	Term    uint64 `json:"term"`
	Members []struct {
		ID    string `json:"id"`
		Name  string `json:"name"`
		Role  string `json:"role"`
		State string `json:"state"`
	} `json:"members"`
}

func decodeCluster(text []byte) (clusterView, error) {
	var v clusterView
	if err := json.Unmarshal(text, &v); err != nil {
		return v, fmt.Errorf("decode /cluster: %w", err)
	}
	return v, nil
}

// leaderName returns the name of the leader, "" when there is none: it may be given as a name or as an id.
func (v clusterView) leaderName() string {
	for _, m := range v.Members {
		if v.Leader != "" && (v.Leader == m.Name || v.Leader == m.ID) {
			return m.Name
		}
	}
	return v.Leader
}

// voters returns how many members are alive and vote.
func (v clusterView) voters() int {
	n := 0
	for _, m := range v.Members {
		if m.Role == "voter" && m.State == "alive" {
			n++
		}
	}
	return n
}
