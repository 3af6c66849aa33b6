package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// change is what the commands that change the cluster say when it is done.
type change struct {
	Done   string      `json:"done"`
	Next   string      `json:"next"`
	Member *memberView `json:"member,omitempty"` // the one that it is about
}

func (a *app) report(flags *clientFlags, c change) error {
	if flags.JSON {
		return printJSON(a.stdout, &c)
	}
	for _, line := range []string{c.Done, c.Next} {
		if _, err := fmt.Fprintln(a.stdout, printable(line)); err != nil {
			return fmt.Errorf("print what was done: %w", err)
		}
	}
	return nil
}

type promoteCmd struct {
	Name        string `arg:"" help:"Name or id of the node."`
	clientFlags `embed:""`
}

// Help implements kong.HelpProvider.
func (*promoteCmd) Help() string {
	return "The node votes as soon as it is alive and has caught up, and stays a voter: read replica or not."
}

// Run implements the command promote.
func (p *promoteCmd) Run(ctx context.Context, a *app) error {
	member, after, err := a.changeVote(ctx, &p.clientFlags, "promote", p.Name)
	if err != nil {
		return err
	}
	if after.role(member.ID) != "voter" {
		return a.report(&p.clientFlags, change{
			Done:   member.label() + " is to be a voter.",
			Next:   "It becomes one when it is alive and has caught up: see `cloakroom members`.",
			Member: member,
		})
	}
	return a.report(&p.clientFlags, change{Done: member.label() + " is a voter.", Next: after.bears(), Member: member})
}

type demoteCmd struct {
	Name        string `arg:"" help:"Name or id of the node."`
	clientFlags `embed:""`
}

// Help implements kong.HelpProvider.
func (*demoteCmd) Help() string {
	return "The node votes no more, until it is promoted; it goes on holding a copy and answering. A leader hands its office over first."
}

// Run implements the command demote.
func (d *demoteCmd) Run(ctx context.Context, a *app) error {
	member, after, err := a.changeVote(ctx, &d.clientFlags, "demote", d.Name)
	if err != nil {
		return err
	}
	if after.role(member.ID) != "non-voter" {
		return a.report(&d.clientFlags, change{
			Done:   member.label() + " is to be a non-voter.",
			Next:   "The leader takes its vote: see `cloakroom members`.",
			Member: member,
		})
	}
	return a.report(&d.clientFlags, change{
		Done:   member.label() + " is a non-voter: it holds a copy and answers, and votes again after `cloakroom promote`.",
		Next:   after.bears(),
		Member: member,
	})
}

// changeVote promotes or demotes a member, and returns it as it was, and the members as they are now.
func (a *app) changeVote(ctx context.Context, flags *clientFlags, what, name string) (*memberView, *clusterView, error) {
	c, err := a.client(flags)
	if err != nil {
		return nil, nil, err
	}
	member, err := c.member(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	if err := c.call(ctx, http.MethodPost, memberPath(member)+"/"+what, nil, nil, nil); err != nil {
		return nil, nil, fmt.Errorf("%s %s: %w", what, name, err)
	}
	return member, c.after(ctx), nil
}

type removeCmd struct {
	Name        string `arg:"" help:"Name or id of the node."`
	Yes         bool   `help:"Remove a node that is alive, too. Its process stops, and its data directory is of no more use."`
	clientFlags `embed:""`
}

// Help implements kong.HelpProvider.
func (*removeCmd) Help() string {
	return "For machines that do not come back: the node is a member no more. One that is alive is removed with --yes only; " +
		"to take it out of service for a while, drain and stop it instead."
}

// Run implements the command remove. A live node takes --yes on a terminal too: a question there would be answered by
// habit, and a script could not.
func (r *removeCmd) Run(ctx context.Context, a *app) error {
	c, err := a.client(&r.clientFlags)
	if err != nil {
		return err
	}
	member, err := c.member(ctx, r.Name)
	if err != nil {
		return err
	}
	if member.State == "alive" && !r.Yes {
		return usagef("%s is alive: removing it stops its process for good, so add --yes if you mean that; `cloakroom drain` takes it out of service for a while", member.label())
	}
	if err := c.call(ctx, http.MethodDelete, memberPath(member), nil, nil, nil); err != nil {
		return fmt.Errorf("remove %s: %w", r.Name, err)
	}
	next := "It was not there to be told: if it is started again, it joins anew, empty and under another id."
	if member.State == "alive" {
		next = "Its process is told to stop, for good. To use the machine again, empty the data directory and start the node: it joins as a new one."
	}
	done := member.label() + " is removed from the cluster."
	if !member.Self { // otherwise the one to ask is stopping
		done += " " + c.after(ctx).bears()
	}
	return a.report(&r.clientFlags, change{Done: done, Next: next, Member: member})
}

type transferCmd struct {
	Name        string `arg:"" optional:"" help:"Name or id of the voter that is to lead (default: the cluster chooses)."`
	clientFlags `embed:""`
}

// Run implements the command transfer-leadership.
func (t *transferCmd) Run(ctx context.Context, a *app) error {
	c, err := a.client(&t.clientFlags)
	if err != nil {
		return err
	}
	before, err := c.clusterView(ctx)
	if err != nil {
		return err
	}
	body := map[string]string{}
	var member *memberView
	if t.Name != "" {
		if member, err = before.find(t.Name); err != nil {
			return err
		}
		body["to"] = member.ID
	}
	if err := c.call(ctx, http.MethodPost, "/api/cluster/leader", nil, body, nil); err != nil {
		return fmt.Errorf("transfer the leadership: %w", err)
	}
	old, leader := before.leader(), c.newLeader(ctx, before.leader(), member)
	switch {
	case leader == nil:
		return a.report(&t.clientFlags, change{Done: "The leadership was handed over.", Next: "Who leads now is not known here yet: see `cloakroom members`."})
	case old == nil || old.ID == leader.ID:
		return a.report(&t.clientFlags, change{Done: leader.label() + " leads.", Next: "It did so before, or nobody did.", Member: leader})
	}
	return a.report(&t.clientFlags, change{
		Done:   leader.label() + " leads.",
		Next:   old.label() + " led before; it is a voter as it was.",
		Member: leader,
	})
}

// newLeader waits a little until the node that is asked has heard who leads: target, or any but old. After that it is
// whoever leads by what the node has heard. Nil: nobody.
func (c *client) newLeader(ctx context.Context, old, target *memberView) *memberView {
	ctx, cancel := context.WithTimeout(ctx, LeaderPatience)
	defer cancel()
	poll := time.NewTicker(ReadyPoll)
	defer poll.Stop()
	var heard *memberView
	for {
		if view := c.after(ctx); ctx.Err() == nil { // else the question was cut short
			heard = view.leader()
		}
		switch {
		case heard == nil:
		case target != nil && heard.ID == target.ID, target == nil && (old == nil || heard.ID != old.ID):
			return heard
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return heard
		}
	}
}

type drainCmd struct {
	Undo        bool `help:"Take the node back into service."`
	clientFlags `embed:""`
}

// Help implements kong.HelpProvider.
func (*drainCmd) Help() string {
	return "The node that is asked says by /readyz that it is draining and hands the leadership over; it serves on, so that nothing is cut off. " +
		"A node that is told to stop drains by itself."
}

// Run implements the command drain.
func (d *drainCmd) Run(ctx context.Context, a *app) error {
	c, err := a.client(&d.clientFlags)
	if err != nil {
		return err
	}
	if err := c.call(ctx, http.MethodPost, "/api/cluster/drain", nil, map[string]bool{"on": !d.Undo}, nil); err != nil {
		return fmt.Errorf("drain: %w", err)
	}
	after := c.after(ctx)
	self, leader := after.self(), after.leader()
	name := "The node"
	if self != nil {
		name = self.label()
	}
	switch {
	case d.Undo:
		return a.report(&d.clientFlags, change{
			Done:   name + " is back in service.",
			Next:   "Its /readyz answers 200 as long as the cluster has a leader; whoever leads goes on leading.",
			Member: self,
		})
	case self != nil && leader != nil && leader.ID == self.ID:
		return a.report(&d.clientFlags, change{
			Done:   name + " is draining: its /readyz answers 503, and it serves on. It still leads, since no other voter could take over.",
			Next:   "Take it back into service by `cloakroom drain --undo`.",
			Member: self,
		})
	}
	return a.report(&d.clientFlags, change{
		Done:   name + " is draining: its /readyz answers 503, and it serves on without leading.",
		Next:   "Stop it when its requests have gone elsewhere, or take it back into service by `cloakroom drain --undo`.",
		Member: self,
	})
}

// memberPath names a member by its id, which no other has.
func memberPath(m *memberView) string { return "/api/cluster/members/" + url.PathEscape(m.ID) }

// clusterView asks a node for the list that takes an admin.
func (c *client) clusterView(ctx context.Context) (*clusterView, error) {
	var view clusterView
	if err := c.call(ctx, http.MethodGet, "/api/cluster/members", nil, nil, &view); err != nil {
		return nil, err
	}
	return &view, nil
}

// member finds the one member of that name or id.
func (c *client) member(ctx context.Context, nameOrID string) (*memberView, error) {
	view, err := c.clusterView(ctx)
	if err != nil {
		return nil, err
	}
	return view.find(nameOrID)
}

// after looks at what has become of a change. That it can't be seen does not undo the change, so there is an empty view
// instead of an error.
func (c *client) after(ctx context.Context) *clusterView {
	view, err := c.clusterView(ctx)
	if err != nil {
		return &clusterView{}
	}
	return view
}
