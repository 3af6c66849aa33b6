package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"cloakroom/cluster/wire"
)

// family is a metric as a node shows it.
type family struct {
	kind   string
	labels map[string]bool
}

// scrape returns what a node that was used a little says of itself: as it is, and by metric.
func scrape(t *testing.T) (text string, families map[string]family) {
	t.Helper()
	s := newSuiteOf(t, 1)
	n := s.nodes[0]
	key, err := wire.NewClusterKey()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(s.dir, "data.key")
	if err := os.WriteFile(file, []byte(key.Encode()), 0o600); err != nil {
		t.Fatal(err)
	}
	s.options = append(s.options, "--data-key-file", file)
	s.withTLS()
	s.startAll()
	client := s.client()
	token := "id=" + s.login(client, n, "admin", suitePassword).cookie("id")
	if a := s.do(client, http.MethodGet, s.url(n)+"/auth/verify", "", "Cookie", token); a.StatusCode != http.StatusOK {
		t.Fatalf("%d %s", a.StatusCode, a.text)
	}
	if a := s.login(client, n, "admin", "wrong"); a.StatusCode != http.StatusUnauthorized {
		t.Fatalf("%d %s", a.StatusCode, a.text)
	}
	operator := n.flags[slices.Index(n.flags, "--operator")+1]
	for _, path := range []string{"/metrics", "/debug/pprof/"} {
		if a := s.do(client, http.MethodGet, s.url(n)+path, ""); a.StatusCode != http.StatusNotFound {
			t.Errorf("everybody may see %s: %d", path, a.StatusCode)
		}
	}
	text = s.do(client, http.MethodGet, "http://"+operator+"/metrics", "").text
	families = map[string]family{}
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (\S+) (\S+)$`).FindAllStringSubmatch(text, -1) {
		families[m[1]] = family{m[2], map[string]bool{}}
	}
	for _, m := range regexp.MustCompile(`(?m)^(\w+)\{(.*)\} `).FindAllStringSubmatch(text, -1) {
		for _, label := range regexp.MustCompile(`(\w+)="`).FindAllStringSubmatch(m[2], -1) {
			if label[1] != "le" {
				families[familyOf(families, m[1])].labels[label[1]] = true
			}
		}
	}
	return text, families
}

// familyOf returns the metric that a series belongs to.
func familyOf(families map[string]family, series string) string {
	if _, ok := families[series]; ok {
		return series
	}
	return regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(series, "")
}

// TestMetricsOfANode: what a node shows is in order, is what the documents say, and has all that dashboard and alerts ask
// for.
func TestMetricsOfANode(t *testing.T) {
	t.Parallel()
	text, families := scrape(t)
	t.Run("promtool", func(t *testing.T) {
		checkMetrics := func(text string) (string, error) {
			cmd := exec.Command(need(t, "promtool"), "check", "metrics")
			cmd.Stdin = strings.NewReader(text)
			out, err := cmd.CombinedOutput()
			return string(out), err
		}
		if out, err := checkMetrics(text); err != nil || out != "" {
			t.Errorf("%v: %s", err, out)
		}
		if out, err := checkMetrics(text + "# TYPE cloakroom_things counter\ncloakroom_things 1\n"); err == nil {
			t.Errorf("it finds nothing in a counter without help: %s", out)
		}
	})
	t.Run("values", func(t *testing.T) {
		for _, line := range []string{
			`cloakroom_http_requests_total\{route="/auth/verify",status="200"\} 1`, `cloakroom_http_request_duration_seconds_count\{route="/auth/verify"\} 1`,
			`cloakroom_realm_sessions\{realm="native"\} [1-9]`, `cloakroom_sessions_created_total [1-9]`, `cloakroom_logins_refused_total [1-9]`,
			`cloakroom_raft_log_write_duration_seconds_count [1-9]\d*`, `cloakroom_raft_commit_duration_seconds_count [1-9]\d*`,
			`cloakroom_raft_apply_duration_seconds_count [1-9]\d*`, `cloakroom_raft_apply_duration_seconds_sum \S*[1-9]\S*`,
			`cloakroom_raft_is_leader 1`, `cloakroom_gossip_members_alive 1`, `cloakroom_gossip_health_score 0`, `cloakroom_gossip_changes_total [1-9]\d*`,
			`cloakroom_memory_part_bytes\{part="sessions"\} [1-9]\S+`, `cloakroom_memory_part_bytes\{part="heap"\} [1-9]\S+`,
			`cloakroom_memory_part_bytes\{part="sessions-spare"\} [1-9]\S+`, `cloakroom_disk_free_bytes [1-9]\S+`,
			`cloakroom_tls_certificate_not_after_timestamp_seconds [1-9]\S+`,
		} {
			if !regexp.MustCompile(`(?m)^` + line + `$`).MatchString(text) {
				t.Errorf("no line %s", line)
			}
		}
	})
	t.Run("document", func(t *testing.T) { compareDocument(t, families) })
	t.Run("dashboard", func(t *testing.T) {
		for _, p := range dashboard(t).Panels {
			for _, target := range p.Targets {
				expectFamilies(t, families, p.Title, target.Expr)
			}
		}
	})
	t.Run("alerts", func(t *testing.T) {
		for _, rule := range alerts(t) {
			expectFamilies(t, families, rule.Alert, rule.Expr)
		}
	})
}

// expectFamilies wants each metric that an expression names to be there.
func expectFamilies(t *testing.T, families map[string]family, what, expr string) {
	t.Helper()
	named := regexp.MustCompile(`\b(cloakroom|go|process)_\w+`).FindAllString(regexp.MustCompile(`"[^"]*"`).ReplaceAllString(expr, `""`), -1)
	if len(named) == 0 && !strings.HasPrefix(expr, "up{") {
		t.Errorf("%s names no metric: %s", what, expr)
	}
	for _, name := range named {
		if _, ok := families[familyOf(families, name)]; !ok {
			t.Errorf("%s asks for %s, which there is not", what, name)
		}
	}
}

// TestAlertsHaveRunbook: whoever is called finds what to do where the alert says, and the runbook names the alert.
func TestAlertsHaveRunbook(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/runbook.md")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, rule := range alerts(t) {
		names[rule.Alert] = true
		anchor, ok := strings.CutPrefix(rule.Annotations["runbook"], "docs/runbook.md#")
		if !ok || !strings.Contains(string(text), `<a id="`+anchor+`"></a>`) {
			t.Errorf("%s: the runbook has no %q", rule.Alert, rule.Annotations["runbook"])
		}
		if !strings.Contains(string(text), "`"+rule.Alert+"`") {
			t.Errorf("the runbook does not name %s", rule.Alert)
		}
	}
	for _, name := range regexp.MustCompile("`(Cloakroom\\w+)`").FindAllStringSubmatch(string(text), -1) {
		if !names[name[1]] {
			t.Errorf("the runbook names the alert %s, which there is not", name[1])
		}
	}
}

// compareDocument wants the document to list every metric with its kind and its labels, and no other.
func compareDocument(t *testing.T, families map[string]family) {
	document, err := os.ReadFile("../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(cloakroom_\\w+)(?:\\{([^}]*)\\})?` \\| (\\w+) \\| (.*) \\|$").FindAllStringSubmatch(string(document), -1) {
		f, ok := families[m[1]]
		switch labels := strings.Join(slices.Sorted(maps.Keys(f.labels)), ","); {
		case !ok:
			t.Errorf("%s is in the document only", m[1])
		case listed[m[1]]:
			t.Errorf("%s is listed twice", m[1])
		case f.kind != m[3] || labels != m[2]:
			t.Errorf("%s is a %s with the labels %q, and in the document a %s with %q", m[1], f.kind, labels, m[3], m[2])
		case len(m[4]) < 10:
			t.Errorf("%s: what it means is not said", m[1])
		}
		listed[m[1]] = true
	}
	for name := range families {
		if strings.HasPrefix(name, "cloakroom_") && !listed[name] {
			t.Errorf("%s is not in the document", name)
		}
	}
}

type dashboardFile struct {
	Panels []struct {
		ID              int
		Title, Type     string
		GridPos         struct{ X, Y, W, H int }
		Targets         []struct{ RefID, Expr string }
		DatasourceField struct{ UID string } `json:"datasource"`
	}
}

func dashboard(t *testing.T) (d dashboardFile) {
	t.Helper()
	text, err := os.ReadFile("../deploy/grafana/cloakroom.json")
	if err == nil {
		err = json.Unmarshal(text, &d)
	}
	if err != nil || len(d.Panels) == 0 {
		t.Fatalf("%d panels, %v", len(d.Panels), err)
	}
	return d
}

type alertRule struct {
	Alert, Expr string
	Annotations map[string]string
}

func alerts(t *testing.T) (rules []alertRule) {
	t.Helper()
	text, err := os.ReadFile("../deploy/prometheus/alerts.yml")
	var file struct{ Groups []struct{ Rules []alertRule } }
	if err == nil {
		err = yaml.Unmarshal(text, &file)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range file.Groups {
		rules = append(rules, g.Rules...)
	}
	return rules
}

func promtool(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.Command(need(t, "promtool"), args...)
	cmd.Dir = "../deploy/prometheus"
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// TestAlerts: each alert comes when it should and not before, and none from a cluster that is well.
func TestAlerts(t *testing.T) {
	t.Parallel()
	tried, err := os.ReadFile("../deploy/prometheus/alerts_test.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, rule := range alerts(t) {
		if !strings.Contains(string(tried), fmt.Sprintf(`{labels: 'ALERTS{alertname="%s", alertstate="firing",`, rule.Alert)) {
			t.Errorf("nothing is tried that %s is for", rule.Alert)
		}
	}
	promtool(t, "check", "config", "prometheus.yml") // and the rules that it names
	promtool(t, "test", "rules", "alerts_test.yml")
}

// TestDashboard: the panels are in order, and Prometheus understands what they ask.
func TestDashboard(t *testing.T) {
	t.Parallel()
	var rules strings.Builder
	rules.WriteString("groups:\n  - name: dashboard\n    rules:\n")
	ids := map[int]bool{}
	for _, p := range dashboard(t).Panels {
		if p.Title == "" || p.ID == 0 || ids[p.ID] || p.GridPos.X+p.GridPos.W > 24 || p.GridPos.W == 0 || p.GridPos.H == 0 {
			t.Errorf("panel %d %q is not in order: %+v", p.ID, p.Title, p.GridPos)
		}
		ids[p.ID] = true
		if (p.Type == "row") != (len(p.Targets) == 0) || p.Type != "row" && p.DatasourceField.UID != "${datasource}" {
			t.Errorf("panel %q asks nothing, or somebody else", p.Title)
		}
		for i, target := range p.Targets {
			for _, variable := range regexp.MustCompile(`\$\w+`).FindAllString(target.Expr, -1) {
				if !slices.Contains([]string{"$job", "$instance", "$__rate_interval"}, variable) {
					t.Errorf("panel %q: there is no %s", p.Title, variable)
				}
			}
			expr := strings.ReplaceAll(target.Expr, "$__rate_interval", "5m")
			quoted, err := json.Marshal(expr)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&rules, "      - {record: 'panel_%d_%d', expr: %s}\n", p.ID, i, quoted)
		}
	}
	file := filepath.Join(t.TempDir(), "dashboard.yml")
	if err := os.WriteFile(file, []byte(rules.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	promtool(t, "check", "rules", "--lint=all", "--lint-fatal", file)
}
