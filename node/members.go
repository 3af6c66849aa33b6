package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
)

// membersCmd lists the nodes.
type membersCmd struct {
	clientFlags `embed:""`
}

// Run implements the command members. With --url it needs the operator's address, which asks for no login.
func (m *membersCmd) Run(ctx context.Context, a *app) error {
	c, err := a.client(&m.clientFlags)
	if err != nil {
		return err
	}
	var view clusterView
	if err := c.call(ctx, http.MethodGet, "/cluster", nil, nil, &view); err != nil {
		if refusal, ok := errors.AsType[*apiError](err); ok && refusal.Status == http.StatusNotFound && m.URL != "" {
			return fmt.Errorf("%s is not the operator's address of a node (--operator), which alone lists the members", m.URL)
		}
		return err
	}
	if m.JSON {
		return printJSON(a.stdout, &view)
	}
	rows := make([][]string, 0, len(view.Members))
	for _, member := range view.Members {
		leader := ""
		if view.Leader != "" && member.Name == view.Leader {
			leader = "leader"
		}
		rows = append(rows, []string{
			member.Name, member.Role, member.State, leader, strconv.FormatUint(member.AppliedIndex, 10), member.HTTP, member.ID,
		})
	}
	return printTable(a.stdout, []string{"NAME", "ROLE", "STATE", "LEADER", "APPLIED", "HTTP", "ID"}, rows)
}

// clusterView is what GET /cluster answers.
type clusterView struct {
	ClusterID string       `json:"clusterId"`
	Leader    string       `json:"leader"`
	Term      uint64       `json:"term"`
	Members   []memberView `json:"members"`
}

type memberView struct {
	ID           string `json:"id"`
	Name         string `json:"name"`
	HTTP         string `json:"http"`
	Role         string `json:"role"`
	State        string `json:"state"`
	AppliedIndex uint64 `json:"appliedIndex"`
}
