package roster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cloakroom/cluster/clustertest"
	"cloakroom/cluster/consensus"
	"cloakroom/cluster/gossip"
	"cloakroom/cluster/session"
	"cloakroom/cluster/wire"
)

const removeAfter = 10 * time.Minute

// world is a cluster of rosters over one configuration and one machine, which stand for all copies. Who leads is told;
// what would take the quorum from the cluster fails the test.
type world struct {
	t *testing.T

	mu      sync.Mutex
	hosts   map[string]*host
	servers []consensus.Server
	machine *session.Machine
	index   uint64
	leader  string
	journal []string // changes of the configuration and of pins, in order
	refuse  func(session.Command) error
	failing map[string]error // of one change, by its journal line: it is made, but its outcome is lost

	office func()          // ends the leader's
	upset  func(id string) // an election that a transfer ends with; nil: elect
}

// host is one node.
type host struct {
	w        *world
	id       string
	roster   *Roster
	handlers map[wire.Kind]wire.Handler
	meta     gossip.Meta
	state    gossip.State
	away     bool               // nothing reaches it, and it reaches nobody
	mute     bool               // its peer port does not answer
	before   []consensus.Server // the last configuration that a node knows which is away or was removed
	lag      uint64
	diskLow  bool
	notes    []string // what it was told of its end, in order
}

// inWorld runs f in fake time with a cluster whose voters are the nodes named; the first leads.
func inWorld(t *testing.T, voters string, f func(t *testing.T, w *world)) {
	t.Helper()
	clustertest.Bubble(t, func(t *testing.T) {
		w := &world{t: t, hosts: make(map[string]*host), machine: session.New(), failing: make(map[string]error)}
		t.Cleanup(func() {
			w.resign()
			for _, h := range w.hosts {
				h.roster.Close()
			}
		})
		w.commit(&session.Genesis{ClusterID: "c", RealmID: "r", AdminID: "a", ServiceID: "s"})
		for id := range strings.FieldsSeq(voters) {
			w.servers = append(w.servers, consensus.Server{ID: id, Addr: id, Voter: true})
		}
		for id := range strings.FieldsSeq(voters) {
			w.start(id, func(c *Config) { c.ClusterID, c.Admitted = "c", true })
		}
		w.elect(w.servers[0].ID)
		time.Sleep(5 * time.Second)
		f(t, w)
	})
}

// start opens a node, which announces itself.
func (w *world) start(id string, options ...func(*Config)) *host {
	w.t.Helper()
	h := &host{w: w, id: id, handlers: make(map[wire.Kind]wire.Handler), state: gossip.StateAlive}
	cfg := Config{
		Self: session.Member{ID: id, Name: "node-" + id, Peer: id + ":7000", MinVersion: session.MinVersion, MaxVersion: session.MaxVersion},
		Raft: h, Peers: h, Gossip: (*hearsay)(h), Book: NewBook(), Store: &MemoryStore{}, RemoveAfter: removeAfter, Do: h.do,
		OnAdmitted:  func() error { return nil },
		OnCluster:   func(string) error { return nil },
		OnDismissed: func() error { h.note("on disk"); return nil },
		OnFatal:     func(err error) { h.note(codeOf(err)) },
		Guards: func() (bool, bool) {
			w.mu.Lock()
			defer w.mu.Unlock()
			return h.diskLow, false
		},
		Logger: slog.New(slog.DiscardHandler),
	}
	if os.Getenv("CLOAKROOM_TEST_LOG") != "" {
		cfg.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil)).With("node", id)
	}
	for _, o := range options {
		o(&cfg)
	}
	r, err := New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	h.roster = r
	w.mu.Lock()
	w.hosts[id] = h
	w.mu.Unlock()
	r.Open()
	return h
}

func replica(c *Config) { c.Self.ReadReplica = true }

func codeOf(err error) string {
	if e, ok := errors.AsType[*session.Error](err); ok {
		return e.Code
	}
	return fmt.Sprint(err)
}

// elect makes a node the leader, from now on.
func (w *world) elect(id string) {
	w.resign()
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan struct{})
	w.mu.Lock()
	h := w.hosts[id]
	w.leader = id
	w.office = func() { cancel(); <-done }
	w.mu.Unlock()
	go func() {
		defer close(done)
		h.roster.Lead(ctx)
	}()
}

// resign leaves the cluster without a leader.
func (w *world) resign() {
	w.mu.Lock()
	end := w.office
	w.leader, w.office = "", nil
	w.mu.Unlock()
	if end != nil {
		end()
	}
}

// kill takes nodes away; back brings them back.
func (w *world) kill(ids ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range ids {
		h := w.hosts[id]
		h.away, h.state, h.before = true, gossip.StateFailed, slices.Clone(w.servers)
	}
}

func (w *world) back(ids ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range ids {
		h := w.hosts[id]
		h.away, h.state = false, gossip.StateAlive
		if !slices.ContainsFunc(w.servers, isServer(id)) {
			continue // nobody sends it the log any more: it knows what it knew
		}
		h.before = nil
	}
}

func (w *world) set(id string, change func(*host)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(w.hosts[id])
}

func isServer(id string) func(consensus.Server) bool {
	return func(s consensus.Server) bool { return s.ID == id }
}

// took returns the changes made since the last call.
func (w *world) took() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := strings.Join(w.journal, ", ")
	w.journal = nil
	return all
}

func (w *world) expect(want string) {
	w.t.Helper()
	if got := w.took(); got != want {
		w.t.Fatalf("changes: %q, want %q", got, want)
	}
}

// voters returns the voters, and the others in brackets.
func (w *world) voters() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var ids []string
	for _, s := range w.servers {
		if s.Voter {
			ids = append(ids, s.ID)
		} else {
			ids = append(ids, "("+s.ID+")")
		}
	}
	return strings.Join(ids, " ")
}

func (w *world) member(id string) (m session.Member, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.machine.Member(id)
}

func (w *world) told(id string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.hosts[id].notes, ", ")
}

// commit applies a command. The caller holds mu, unless nothing runs yet.
func (w *world) commit(cmd session.Command) session.Result {
	w.index++
	return w.machine.Apply(w.index, &session.Entry{Stamp: session.TimeOf(time.Now()), Commands: []session.Command{cmd}})[0]
}

// reconfigure changes the configuration, as long as that leaves a live majority.
func (w *world) reconfigure(by *host, line string, change func([]consensus.Server) []consensus.Server) error {
	time.Sleep(time.Millisecond) // on its way into the log
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.leader != by.id {
		return consensus.ErrNotLeader
	}
	next := change(slices.Clone(w.servers))
	voters, live := 0, 0
	for _, s := range next {
		if s.Voter {
			voters++
			if !w.hosts[s.ID].away {
				live++
			}
		}
	}
	if live < majority(voters) {
		w.t.Errorf("%q takes the quorum: %d of %d live", line, live, voters)
		return consensus.ErrLeadershipLost
	}
	for _, s := range w.servers {
		if !slices.ContainsFunc(next, isServer(s.ID)) && w.hosts[s.ID].before == nil {
			w.hosts[s.ID].before = slices.Clone(w.servers)
		}
	}
	w.index++
	w.servers = next
	w.journal = append(w.journal, line)
	err := w.failing[line]
	delete(w.failing, line)
	return err
}

func (h *host) note(what string) {
	h.w.mu.Lock()
	defer h.w.mu.Unlock()
	h.notes = append(h.notes, what)
}

// A host is its node's raft.

func (h *host) Bootstrap([]consensus.Server) error { panic("BUG: nobody is to bootstrap here") }
func (h *host) HasState() bool                     { return true }

func (h *host) Servers() ([]consensus.Server, error) {
	h.w.mu.Lock()
	defer h.w.mu.Unlock()
	if h.before != nil {
		return h.before, nil
	}
	if !slices.ContainsFunc(h.w.servers, isServer(h.id)) {
		return nil, nil // it was never in
	}
	return slices.Clone(h.w.servers), nil
}

func (h *host) LeaderID() string {
	h.w.mu.Lock()
	defer h.w.mu.Unlock()
	if h.before != nil || !slices.ContainsFunc(h.w.servers, isServer(h.id)) {
		return ""
	}
	return h.w.leader
}

func (h *host) IsLeader() bool { return h.LeaderID() == h.id }

func (h *host) Changed() <-chan struct{} {
	changed := make(chan struct{}) // perhaps
	time.AfterFunc(time.Millisecond, func() { close(changed) })
	return changed
}

func (h *host) Applied() uint64 {
	h.w.mu.Lock()
	defer h.w.mu.Unlock()
	return h.w.index - min(h.lag, h.w.index)
}

func (h *host) CommitIndex() uint64 {
	h.w.mu.Lock()
	defer h.w.mu.Unlock()
	return h.w.index
}

func (h *host) Read(fn func(*session.Machine)) {
	h.w.mu.Lock()
	defer h.w.mu.Unlock()
	fn(h.w.machine)
}

func (h *host) AddVoter(_ context.Context, id, _ string) error { return h.put(id, "voter ", true) }

func (h *host) AddNonvoter(_ context.Context, id, _ string) error { return h.put(id, "add ", false) }

func (h *host) Demote(_ context.Context, id string) error { return h.put(id, "demote ", false) }

func (h *host) put(id, line string, voter bool) error {
	return h.w.reconfigure(h, line+id, func(servers []consensus.Server) []consensus.Server {
		servers = slices.DeleteFunc(servers, isServer(id))
		return append(servers, consensus.Server{ID: id, Addr: id, Voter: voter})
	})
}

func (h *host) Remove(_ context.Context, id string) error {
	return h.w.reconfigure(h, "remove "+id, func(servers []consensus.Server) []consensus.Server {
		return slices.DeleteFunc(servers, isServer(id))
	})
}

// Transfer elects the node named, or the first other voter that can be reached.
func (h *host) Transfer(_ context.Context, to string) error {
	w := h.w
	w.mu.Lock()
	if w.leader != h.id {
		w.mu.Unlock()
		return consensus.ErrNotLeader
	}
	i := slices.IndexFunc(w.servers, func(s consensus.Server) bool {
		return s.Voter && s.ID != h.id && !w.hosts[s.ID].away && (to == "" || to == s.ID)
	})
	if i < 0 {
		w.mu.Unlock()
		return errors.New("no peer")
	}
	next := w.servers[i].ID
	w.journal = append(w.journal, "transfer "+next)
	w.leader = "" // the office itself ends as it does in earnest: a little later
	elect := w.elect
	if w.upset != nil {
		elect = w.upset
	}
	w.mu.Unlock()
	go elect(next)
	return nil
}

func (h *host) do(_ context.Context, cmd session.Command) (session.Result, error) {
	w := h.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.leader == "" || h.away {
		return session.Result{}, wire.ErrNoLeader
	}
	if w.refuse != nil {
		if err := w.refuse(cmd); err != nil {
			return session.Result{}, err
		}
	}
	switch c := cmd.(type) {
	case *session.PutMember:
		if old, _ := w.machine.Member(c.Member.ID); old.Pin != c.Member.Pin {
			w.journal = append(w.journal, fmt.Sprintf("pin %s %d", c.Member.ID, c.Member.Pin))
		}
	case *session.RemoveMember:
		w.journal = append(w.journal, "strike "+c.ID)
	}
	return w.commit(cmd), nil
}

// A host is its node's stream.

func (h *host) Handle(kind wire.Kind, handler wire.Handler) { h.handlers[kind] = handler }

func (h *host) Call(ctx context.Context, id string, kind wire.Kind, body []byte) ([]byte, error) {
	h.w.mu.Lock()
	to := h.w.hosts[id]
	reached := to != nil && to.away == h.away // those who are away are so together
	mute := reached && to.mute
	h.w.mu.Unlock()
	if !reached || ctx.Err() != nil {
		return nil, wire.ErrUnreachable
	}
	if mute {
		<-ctx.Done()
		return nil, wire.ErrLost
	}
	handle := to.handlers[kind]
	if handle == nil {
		return nil, wire.ErrUnknownRequest
	}
	answer, err := handle(ctx, wire.Peer{ID: h.id}, body)
	if err == nil {
		return answer, nil
	}
	if errors.Is(err, wire.ErrLost) || errors.Is(err, wire.ErrUnreachable) {
		return nil, wire.ErrLost
	}
	if e, ok := errors.AsType[*session.Error](err); ok {
		return nil, &session.Error{Code: e.Code, Message: e.Message}
	}
	return nil, wire.ErrInternal
}

// hearsay is the host's gossip.
type hearsay host

func (g *hearsay) Changed() <-chan struct{} { return nil }

func (g *hearsay) SetMeta(m gossip.Meta) error {
	g.w.mu.Lock()
	defer g.w.mu.Unlock()
	g.meta = m
	return nil
}

func (g *hearsay) Members() []gossip.Member {
	g.w.mu.Lock()
	defer g.w.mu.Unlock()
	var list []gossip.Member
	for _, h := range g.w.hosts {
		state := h.state
		switch {
		case h.away && g.away:
			state = gossip.StateAlive
		case g.away:
			state = gossip.StateFailed
		}
		meta := h.meta
		meta.ID, meta.Peer = h.id, h.id+":7000"
		list = append(list, gossip.Member{Meta: meta, State: state})
	}
	slices.SortFunc(list, func(a, b gossip.Member) int { return strings.Compare(a.ID, b.ID) })
	return list
}
