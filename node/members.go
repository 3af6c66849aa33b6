package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// membersCmd lists the nodes.
type membersCmd struct {
	clientFlags `embed:""`
}

// Help implements kong.HelpProvider.
func (*membersCmd) Help() string {
	return "With --url alone this needs the operator's address, which asks for no login; with --user too, the address of the session API. " +
		"LAG is how many entries of the log a node has yet to apply, against the one that is furthest. VERSION " +
		"is the newest version of the log's commands that the node's program knows: what the oldest does not know waits until it is upgraded."
}

// Run implements the command members.
func (m *membersCmd) Run(ctx context.Context, a *app) error {
	c, err := a.client(&m.clientFlags)
	if err != nil {
		return err
	}
	path := "/cluster"
	if c.user != "" {
		path = "/api/cluster/members"
	}
	var view clusterView
	if err := c.call(ctx, http.MethodGet, path, nil, nil, &view); err != nil {
		refusal, ok := errors.AsType[*apiError](err)
		switch {
		case !ok || refusal.Status != http.StatusNotFound || m.URL == "":
			return err
		case c.user == "":
			return fmt.Errorf("%s is not the operator's address of a node (--operator), which lists the members without a login: add --user for the session API's", m.URL)
		}
		return fmt.Errorf("%s is not the session API's address of a node (--http), which lists the members to an admin: leave --user out for the operator's", m.URL)
	}
	if m.JSON {
		return printJSON(a.stdout, &view)
	}
	rows := make([][]string, 0, len(view.Members))
	leader := view.leader()
	for i := range view.Members {
		member := &view.Members[i]
		office := ""
		if member == leader {
			office = "leader"
		}
		rows = append(rows, []string{
			member.Name, member.Role, member.State, office, member.notes(), number(member.AppliedIndex), view.lag(member), number(member.Version), member.HTTP, member.ID,
		})
	}
	if err := printTable(a.stdout, []string{"NAME", "ROLE", "STATE", "LEADER", "NOTES", "APPLIED", "LAG", "VERSION", "HTTP", "ID"}, rows); err != nil || leader != nil {
		return err
	}
	_, err = fmt.Fprintln(a.stdout, view.leaderless())
	return err
}

// leaderless says what it means that the node which answered knows of no leader.
func (v *clusterView) leaderless() string {
	voters, alive := 0, 0
	for i := range v.Members {
		if v.Members[i].Role != "voter" {
			continue
		}
		voters++
		if v.Members[i].State == "alive" {
			alive++
		}
	}
	if voters == 0 {
		return "This node belongs to no cluster yet."
	}
	return fmt.Sprintf("This node knows of no leader: logins and changes are refused. It sees %d of %d voters alive; %d are needed.", alive, voters, voters/2+1)
}

// number shows an index, nothing for one that is not known.
func number(n uint64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatUint(n, 10)
}

// clusterView is what GET /cluster and GET /api/cluster/members answer.
type clusterView struct {
	ClusterID string       `json:"clusterId"`
	Leader    string       `json:"leader"`
	Term      uint64       `json:"term"`
	Version   uint64       `json:"version"` // of commands: the newest that all members know; 0: the node does not say
	Members   []memberView `json:"members"`
}

type memberView struct {
	ID           string `json:"id"`
	Name         string `json:"name"`
	HTTP         string `json:"http"`
	Role         string `json:"role"`
	State        string `json:"state"`
	Pin          string `json:"pin,omitempty"` // voter or non-voter: what an operator has decided
	ReadReplica  bool   `json:"readReplica,omitempty"`
	AppliedIndex uint64 `json:"appliedIndex"`
	Leader       bool   `json:"leader,omitempty"`
	Draining     bool   `json:"draining,omitempty"`
	DiskLow      bool   `json:"diskLow,omitempty"`
	MemoryFull   bool   `json:"memoryFull,omitempty"`
	Self         bool   `json:"self,omitempty"` // the node that answered
	Version      uint64 `json:"version"`        // the newest commands that its program knows; 0: not known
}

// label names a member so that no other can be meant.
func (m *memberView) label() string { return m.Name + " (" + m.ID + ")" }

// notes are what is not usual about a member.
func (m *memberView) notes() string {
	var notes []string
	if m.ReadReplica {
		notes = append(notes, "replica")
	}
	if m.Pin != "" {
		notes = append(notes, "pinned:"+m.Pin)
	}
	if m.Draining {
		notes = append(notes, "draining")
	}
	if m.DiskLow {
		notes = append(notes, "disk-low")
	}
	if m.MemoryFull {
		notes = append(notes, "memory-full")
	}
	return strings.Join(notes, ",")
}

// find returns the member of an id or, if only one has it, a name.
func (v *clusterView) find(nameOrID string) (*memberView, error) {
	var named []*memberView
	for i := range v.Members {
		switch m := &v.Members[i]; nameOrID {
		case m.ID:
			return m, nil
		case m.Name:
			named = append(named, m)
		}
	}
	switch len(named) {
	case 0:
		return nil, fmt.Errorf("the cluster has no member %q: see `cloakroom members`", nameOrID)
	case 1:
		return named[0], nil
	}
	ids := make([]string, len(named))
	for i, m := range named {
		ids[i] = fmt.Sprintf("%s (%s, %s)", m.ID, m.Role, m.State)
	}
	return nil, usagef("%d members are called %s: name one by its id, %s", len(named), nameOrID, strings.Join(ids, " or "))
}

// leader returns the member that leads, nil for none.
func (v *clusterView) leader() *memberView {
	return v.where(func(m memberView) bool { return m.Leader })
}

// self returns the member that answered, nil if it did not say.
func (v *clusterView) self() *memberView { return v.where(func(m memberView) bool { return m.Self }) }

// role returns a member's place in the configuration, "" for one that is not there.
func (v *clusterView) role(id string) string {
	if m := v.where(func(m memberView) bool { return m.ID == id }); m != nil {
		return m.Role
	}
	return ""
}

func (v *clusterView) where(is func(memberView) bool) *memberView {
	if i := slices.IndexFunc(v.Members, is); i >= 0 {
		return &v.Members[i]
	}
	return nil
}

// lag is how far a member is behind the one that is furthest, by what they said at about the same time.
func (v *clusterView) lag(m *memberView) string {
	furthest := uint64(0)
	for _, other := range v.Members {
		furthest = max(furthest, other.AppliedIndex)
	}
	if m.AppliedIndex == 0 {
		return ""
	}
	return strconv.FormatUint(furthest-m.AppliedIndex, 10)
}

// bears says what the voters that there are now can bear.
func (v *clusterView) bears() string {
	voters := 0
	for _, m := range v.Members {
		if m.Role == "voter" {
			voters++
		}
	}
	switch spare := (voters - 1) / 2; {
	case voters == 0:
		return "See `cloakroom members`."
	case voters == 1:
		return "There is one voter: without it the cluster stands still."
	case spare == 0:
		return fmt.Sprintf("There are %d voters: without either the cluster stands still.", voters)
	default:
		return fmt.Sprintf("There are %d voters: the cluster bears the loss of %d.", voters, spare)
	}
}
