package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fakeCluster answers the API's calls about the cluster, and notes those that change it.
type fakeCluster struct {
	mu      sync.Mutex
	view    clusterView
	refusal *apiError // of every change, when not nil
	changed func(*clusterView)
	calls   []string
}

func (f *fakeCluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	if user, _, ok := r.BasicAuth(); err != nil || !ok || user != "root" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if r.Method == http.MethodGet && r.URL.Path == "/api/cluster/members" {
		_ = json.NewEncoder(w).Encode(&f.view) // a client that has gone is none of the test's
		return
	}
	f.calls = append(f.calls, strings.TrimSpace(r.Method+" "+r.URL.Path+" "+string(body)))
	if f.refusal != nil {
		w.WriteHeader(f.refusal.Status)
		_ = json.NewEncoder(w).Encode(f.refusal) // as above
		return
	}
	if f.changed != nil {
		f.changed(&f.view)
	}
	w.WriteHeader(http.StatusNoContent)
}

// command runs a command line against the fake as root, and returns its exit code and what it printed.
func (f *fakeCluster) command(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	server := httptest.NewServer(f)
	defer server.Close()
	f.calls = nil
	var out, complaints bytes.Buffer
	a := &app{
		stdin: strings.NewReader(""), stdout: &out, stderr: &complaints,
		lookup: func(key string) (string, bool) {
			value, ok := map[string]string{
				"CLOAKROOM_URL": server.URL, "CLOAKROOM_USER": "root", "CLOAKROOM_PASSWORD": "the-password",
			}[key]
			return value, ok
		},
	}
	code = a.main(t.Context(), args)
	return code, out.String(), complaints.String()
}

// threeNodes is a cluster with a leader that answers, a voter that is dead, and a read replica; and two nodes of one
// name.
func threeNodes() clusterView {
	return clusterView{ClusterID: "c1", Leader: "n1", Term: 3, Members: []memberView{
		{ID: "id-1", Name: "n1", Role: "voter", State: "alive", Leader: true, Self: true, AppliedIndex: 107, Version: 4},
		{ID: "id-2", Name: "n2", Role: "voter", State: "failed", Version: 3},
		{ID: "id-3", Name: "n3", Role: "voter", State: "alive", AppliedIndex: 100, Version: 4},
		{ID: "id-4", Name: "n4", Role: "non-voter", State: "alive", ReadReplica: true, Pin: "non-voter", AppliedIndex: 107},
		{ID: "id-5", Name: "twin", Role: "non-voter", State: "failed"},
		{ID: "id-6", Name: "twin", Role: "non-voter", State: "alive"},
		{ID: "n1", Name: "called-as-n1", Role: "none", State: "alive"},
	}}
}

// setRole and lead are what a change may have led to by the time of the next look.
func setRole(id, role string) func(*clusterView) {
	return func(v *clusterView) {
		for i := range v.Members {
			if v.Members[i].ID == id {
				v.Members[i].Role = role
			}
		}
	}
}

func lead(id string) func(*clusterView) {
	return func(v *clusterView) {
		for i := range v.Members {
			v.Members[i].Leader = v.Members[i].ID == id
		}
	}
}

func drop(id string) func(*clusterView) {
	return func(v *clusterView) {
		v.Members = slices.DeleteFunc(v.Members, func(m memberView) bool { return m.ID == id })
	}
}

func TestMembershipCommands(t *testing.T) {
	for name, tt := range map[string]struct {
		args    string
		changed func(*clusterView)
		calls   string
		out     []string // lines
	}{
		"promote, later": {
			"promote n4", nil, "POST /api/cluster/members/id-4/promote",
			[]string{"n4 (id-4) is to be a voter.", "It becomes one when it is alive and has caught up: see `cloakroom members`."},
		},
		"promote, at once": {
			"promote n4", setRole("id-4", "voter"), "POST /api/cluster/members/id-4/promote",
			[]string{"n4 (id-4) is a voter.", "There are 4 voters: the cluster bears the loss of 1."},
		},
		"by id, although another has that name": {
			"promote n1", nil, "POST /api/cluster/members/n1/promote",
			[]string{"called-as-n1 (n1) is to be a voter.", "It becomes one when it is alive and has caught up: see `cloakroom members`."},
		},
		"one of two by its id": {
			"demote id-6", nil, "POST /api/cluster/members/id-6/demote",
			[]string{
				"twin (id-6) is a non-voter: it holds a copy and answers, and votes again after `cloakroom promote`.",
				"There are 3 voters: the cluster bears the loss of 1.",
			},
		},
		"demote, later": {
			"demote n3", nil, "POST /api/cluster/members/id-3/demote",
			[]string{"n3 (id-3) is to be a non-voter.", "The leader takes its vote: see `cloakroom members`."},
		},
		"demote to two": {
			"demote n3", setRole("id-3", "non-voter"), "POST /api/cluster/members/id-3/demote",
			[]string{
				"n3 (id-3) is a non-voter: it holds a copy and answers, and votes again after `cloakroom promote`.",
				"There are 2 voters: without either the cluster stands still.",
			},
		},
		"remove a dead node": {
			"remove n2", drop("id-2"), "DELETE /api/cluster/members/id-2",
			[]string{
				"n2 (id-2) is removed from the cluster. There are 2 voters: without either the cluster stands still.",
				"It was not there to be told: if it is started again, it joins anew, empty and under another id.",
			},
		},
		"remove a live one": {
			"remove --yes n3", drop("id-3"), "DELETE /api/cluster/members/id-3",
			[]string{
				"n3 (id-3) is removed from the cluster. There are 2 voters: without either the cluster stands still.",
				"Its process is told to stop, for good. To use the machine again, empty the data directory and start the node: it joins as a new one.",
			},
		},
		"remove the one that is asked": {
			"remove id-1 --yes", func(v *clusterView) { *v = clusterView{} }, "DELETE /api/cluster/members/id-1",
			[]string{
				"n1 (id-1) is removed from the cluster.",
				"Its process is told to stop, for good. To use the machine again, empty the data directory and start the node: it joins as a new one.",
			},
		},
		"transfer to one": {
			"transfer-leadership n3", lead("id-3"), `POST /api/cluster/leader {"to":"id-3"}`,
			[]string{"n3 (id-3) leads.", "n1 (id-1) led before; it is a voter as it was."},
		},
		"transfer to any": {
			"transfer-leadership", lead("id-3"), `POST /api/cluster/leader {}`,
			[]string{"n3 (id-3) leads.", "n1 (id-1) led before; it is a voter as it was."},
		},
		"transfer to the leader": {
			"transfer-leadership id-1", nil, `POST /api/cluster/leader {"to":"id-1"}`,
			[]string{"n1 (id-1) leads.", "It did so before, or nobody did."},
		},
		"drain": {
			"drain", lead("id-3"), `POST /api/cluster/drain {"on":true}`,
			[]string{
				"n1 (id-1) is draining: its /readyz answers 503, and it serves on without leading.",
				"Stop it when its requests have gone elsewhere, or take it back into service by `cloakroom drain --undo`.",
			},
		},
		"drain alone": {
			"drain", nil, `POST /api/cluster/drain {"on":true}`,
			[]string{
				"n1 (id-1) is draining: its /readyz answers 503, and it serves on. It still leads, since no other voter could take over.",
				"Take it back into service by `cloakroom drain --undo`.",
			},
		},
		"undo": {
			"drain --undo", nil, `POST /api/cluster/drain {"on":false}`,
			[]string{
				"n1 (id-1) is back in service.",
				"Its /readyz answers 200 as long as the cluster has a leader; whoever leads goes on leading.",
			},
		},
		"a view that is gone": {
			"drain", func(v *clusterView) { *v = clusterView{} }, `POST /api/cluster/drain {"on":true}`,
			[]string{
				"The node is draining: its /readyz answers 503, and it serves on without leading.",
				"Stop it when its requests have gone elsewhere, or take it back into service by `cloakroom drain --undo`.",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fakeCluster{view: threeNodes(), changed: tt.changed}
			code, out, complaints := f.command(t, strings.Fields(tt.args)...)
			if code != exitStopped || complaints != "" {
				t.Fatalf("exit code %d, %s", code, complaints)
			}
			if calls := strings.Join(f.calls, ", "); calls != tt.calls {
				t.Errorf("the calls are %s, not %s", calls, tt.calls)
			}
			if want := strings.Join(tt.out, "\n") + "\n"; out != want {
				t.Errorf("it says\n%s\nnot\n%s", out, want)
			}
		})
	}
}

// direct has requests without a body answered without a network, so that a test can run in fake time.
type direct struct{ http.Handler }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	w := httptest.NewRecorder()
	served := r.Clone(r.Context())
	served.Body = http.NoBody // as of a server's request: never nil
	d.ServeHTTP(w, served)
	return w.Result(), nil
}

// Who was to lead is waited for; then it is told who does.
func TestNewLeader(t *testing.T) {
	for _, tt := range []struct {
		target, leads, want string
		waits               bool
	}{
		{"id-2", "id-2", "id-2", false},
		{"id-2", "id-3", "id-3", true},
		{"id-2", "id-1", "id-1", true},
		{"id-2", "", "", true},
		{"", "id-3", "id-3", false},
		{"", "id-1", "id-1", true},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := &fakeCluster{view: threeNodes()}
			before := f.view.leader()
			target := f.view.where(func(m memberView) bool { return m.ID == tt.target })
			lead(tt.leads)(&f.view)
			c := &client{http: &http.Client{Transport: direct{f}}, base: "http://node", user: "root"}
			begun, got := time.Now(), ""
			if leader := c.newLeader(t.Context(), before, target); leader != nil {
				got = leader.ID
			}
			if waited := time.Since(begun) == LeaderPatience; got != tt.want || waited != tt.waits {
				t.Errorf("%q was to lead and %q does: told %q after %v", tt.target, tt.leads, got, time.Since(begun))
			}
		})
	}
}

// What is refused here never reaches the cluster; what the cluster refuses is told as it says.
func TestMembershipRefusals(t *testing.T) {
	for args, tt := range map[string]struct {
		code int
		want string
	}{
		"remove n3":                {exitWrong, "cloakroom: n3 (id-3) is alive: removing it stops its process for good, so add --yes"},
		"remove id-1":              {exitWrong, "cloakroom: n1 (id-1) is alive: "},
		"promote twin":             {exitWrong, "cloakroom: 2 members are called twin: name one by its id, id-5 (non-voter, failed) or id-6 (non-voter, alive)"},
		"remove twin --yes":        {exitWrong, "cloakroom: 2 members are called twin: "},
		"transfer-leadership twin": {exitWrong, "cloakroom: 2 members are called twin: "},
		"demote nobody":            {exitFailed, "cloakroom: the cluster has no member \"nobody\""},
		"promote":                  {exitWrong, "cloakroom: expected \"<name>\""},
		"remove":                   {exitWrong, "cloakroom: expected \"<name>\""},
		"drain n1":                 {exitWrong, "cloakroom: unexpected argument n1"},
	} {
		f := &fakeCluster{view: threeNodes()}
		code, out, complaints := f.command(t, strings.Fields(args)...)
		if code != tt.code || !strings.HasPrefix(complaints, tt.want) || strings.Count(complaints, "\n") != 1 || out != "" {
			t.Errorf("%s: exit code %d, %q, %q", args, code, complaints, out)
		}
		if len(f.calls) != 0 {
			t.Errorf("%s: the cluster was asked for %q", args, f.calls)
		}
	}
	for _, args := range []string{"promote n4", "demote n3", "remove n2", "transfer-leadership n3", "transfer-leadership", "drain", "drain --undo"} {
		f := &fakeCluster{view: threeNodes(), refusal: &apiError{Status: http.StatusConflict, Code: "quorum-at-risk", Message: "start a voter first"}}
		code, out, complaints := f.command(t, strings.Fields(args)...)
		if code != exitFailed || !strings.HasSuffix(complaints, ": start a voter first (quorum-at-risk)\n") || out != "" || len(f.calls) != 1 {
			t.Errorf("%s: exit code %d, %q, %q, calls %q", args, code, complaints, out, f.calls)
		}
	}
}

func TestMembershipJSON(t *testing.T) {
	f := &fakeCluster{view: threeNodes()}
	_, out, _ := f.command(t, "remove", "n2", "--json")
	var done struct {
		Done, Next string
		Member     struct{ ID, Role string }
	}
	if err := json.Unmarshal([]byte(out), &done); err != nil || done.Done == "" || done.Next == "" || done.Member.ID != "id-2" || done.Member.Role != "voter" {
		t.Errorf("%v: %s", err, out)
	}
}

func TestMembersTable(t *testing.T) {
	f := &fakeCluster{view: threeNodes()}
	f.view.Members[2].Draining, f.view.Members[2].DiskLow, f.view.Members[2].MemoryFull = true, true, true
	code, out, complaints := f.command(t, "members")
	if code != exitStopped {
		t.Fatalf("exit code %d, %s", code, complaints)
	}
	want := [][]string{
		{"NAME", "ROLE", "STATE", "LEADER", "NOTES", "APPLIED", "LAG", "VERSION", "HTTP", "ID"},
		{"n1", "voter", "alive", "leader", "-", "107", "0", "4", "-", "id-1"},
		{"n2", "voter", "failed", "-", "-", "-", "-", "3", "-", "id-2"},
		{"n3", "voter", "alive", "-", "draining,disk-low,memory-full", "100", "7", "4", "-", "id-3"},
		{"n4", "non-voter", "alive", "-", "replica,pinned:non-voter", "107", "0", "-", "-", "id-4"},
	}
	for i, line := range strings.Split(strings.TrimSpace(out), "\n")[:len(want)] {
		if got := strings.Fields(line); !slices.Equal(got, want[i]) {
			t.Errorf("line %d is %q, not %q", i, got, want[i])
		}
	}
	if strings.Contains(out, "no leader") {
		t.Errorf("n1 leads:\n%s", out)
	}
}

// Who sees no leader is told what that means, and how many voters are needed.
func TestMembersWithoutLeader(t *testing.T) {
	f := &fakeCluster{view: threeNodes()}
	for want, change := range map[string]func(){
		"\nThis node knows of no leader: logins and changes are refused. It sees 2 of 3 voters alive; 2 are needed.\n": func() { f.view.Members[0].Leader = false },
		"\nThis node belongs to no cluster yet.\n": func() { f.view.Members = f.view.Members[6:] },
	} {
		f.view = threeNodes()
		change()
		if code, out, complaints := f.command(t, "members"); code != exitStopped || complaints != "" || !strings.HasSuffix(out, want) {
			t.Errorf("exit code %d, %s:\n%s", code, complaints, out)
		}
	}
}

func TestBears(t *testing.T) {
	for voters, want := range []string{
		"See `cloakroom members`.",
		"There is one voter: without it the cluster stands still.",
		"There are 2 voters: without either the cluster stands still.",
		"There are 3 voters: the cluster bears the loss of 1.",
		"There are 4 voters: the cluster bears the loss of 1.",
		"There are 5 voters: the cluster bears the loss of 2.",
	} {
		v := &clusterView{Members: []memberView{{Role: "non-voter"}, {Role: "none"}}}
		for range voters {
			v.Members = append(v.Members, memberView{Role: "voter"})
		}
		if got := v.bears(); got != want {
			t.Errorf("%d voters: %s", voters, got)
		}
	}
}
