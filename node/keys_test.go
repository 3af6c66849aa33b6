package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"cloakroom/cluster/wire"
)

// rotation is three nodes, each with a cluster key file and a data key file of its own, as on three machines.
type rotation struct{ *suite }

func (r rotation) file(n *suiteNode, kind string) string {
	return filepath.Join(r.dir, n.name+"."+kind+".key")
}

func (r rotation) write(n *suiteNode, kind string, keys ...string) {
	r.t.Helper()
	if err := os.WriteFile(r.file(n, kind), []byte(strings.Join(keys, "\n")+"\n"), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// reload signals nodes and waits for a line of each log with these words, which it has not logged so often before.
func (r rotation) reload(words string, nodes ...*suiteNode) {
	r.t.Helper()
	count := func(n *suiteNode) int { return strings.Count(strings.Join(r.lines(n), "\n"), words) }
	before := make(map[*suiteNode]int)
	for _, n := range nodes {
		before[n] = count(n)
		if err := n.process.Process.Signal(syscall.SIGHUP); err != nil {
			r.t.Fatal(err)
		}
	}
	for _, n := range nodes {
		r.until(n.name+" logs: "+words, func() bool { return count(n) > before[n] })
	}
}

// step gives nodes other keys, and wants them taken.
func (r rotation) step(nodes []*suiteNode, kind string, keys ...string) {
	r.t.Helper()
	for _, n := range nodes {
		r.write(n, kind, keys...)
	}
	r.reload("were read again", nodes...)
	r.t.Log("step", kind, len(keys))
}

// unused waits until no connection for requests is under the key on these nodes.
func (r rotation) unused(nodes []*suiteNode, key string) {
	r.t.Helper()
	name := fmt.Sprintf(`cloakroom_cluster_key_connections{key=%q,kind="requests"}`, idOf(r.t, key))
	r.until("the old key is out of use", func() bool {
		for _, n := range nodes {
			if count, ok := r.gauges(n.operator)[name]; !ok || count > 0 {
				return false
			}
		}
		return true
	})
}

func idOf(t testing.TB, key string) wire.KeyID {
	t.Helper()
	parsed, err := wire.ParseClusterKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return parsed.ID()
}

// TestKeyRotation: cluster key and data key are exchanged by SIGHUP on three real nodes under load, and no request fails. A
// step that comes too early is refused and says which nodes are not ready. A node that was down meanwhile says what it lacks.
func TestKeyRotation(t *testing.T) {
	t.Parallel()
	r := rotation{newSuite(t, calmHeartbeat...)}
	keys := make([]string, 5)
	for i := range keys {
		key, err := wire.NewClusterKey() // a data key looks the same
		if err != nil {
			t.Fatal(err)
		}
		keys[i] = key.Encode()
	}
	before, after, third, data, newData := keys[0], keys[1], keys[2], keys[3], keys[4]
	for _, n := range r.nodes {
		r.write(n, "cluster", before)
		r.write(n, "data", data)
		n.flags = append(without(n.flags, "--cluster-key-file"), "--cluster-key-file", r.file(n, "cluster"), "--data-key-file", r.file(n, "data"))
	}
	r.startAll()
	cookie := r.cookie(r.nodes[0])
	realm := r.do(r.client(), http.MethodPost, r.url(r.nodes[0])+"/api/realm-configs", rollingRealm, "Content-Type", jsonType, "Cookie", cookie)
	if realm.StatusCode != http.StatusCreated {
		t.Fatalf("make a realm with a secret: %d %s", realm.StatusCode, realm.text)
	}
	load := r.counting("z" + strings.Replace(cookie, "id=", "sessionid=", 1))
	defer load.stop()

	r.write(r.nodes[0], "cluster", after, before)
	r.reload("is not accepted by n2, n3 yet", r.nodes[0])
	r.write(r.nodes[0], "cluster", after)
	r.reload("is sealed under a key that is not in the file any more", r.nodes[0])
	r.step(r.nodes, "cluster", before, after)
	r.step(r.nodes, "cluster", after, before)
	r.step(r.nodes, "data", newData, data)
	r.unused(r.nodes, before)
	r.until("the realm's secret is sealed under the new key", func() bool {
		return strings.Contains(strings.Join(r.lines(r.nodes[r.leader()]), "\n"), "a realm's secrets are sealed under the first cluster key")
	})
	for _, n := range r.nodes {
		r.until("nothing is under the old data key", func() bool {
			m := r.gauges(n.operator)
			return m["cloakroom_data_old_key_entries"]+m["cloakroom_data_old_key_snapshots"] == 0
		})
	}
	r.step(r.nodes, "cluster", after)
	r.step(r.nodes, "data", newData)
	for i, n := range r.nodes {
		m := r.gauges(n.operator)
		if m[fmt.Sprintf("cloakroom_cluster_key_first{key=%q}", idOf(t, after))] != 1 {
			t.Errorf("%s does not say that the new key is the first", n.name)
		}
		if _, known := m[fmt.Sprintf("cloakroom_cluster_key_first{key=%q}", idOf(t, before))]; known {
			t.Errorf("%s says that the old key is still accepted", n.name)
		}
		guest := r.do(r.client(), http.MethodPost, r.url(n)+"/api/session?realmName=proxied", "", "X-Guest", fmt.Sprint("guest", i), "X-Guest-Secret", rollingSecret)
		if guest.StatusCode != http.StatusCreated {
			t.Errorf("%s: a login with the realm's secret: %d %s", n.name, guest.StatusCode, guest.text)
		}
	}
	r.until("some puts more", load.more())
	load.stop()

	r.missed(after, third)
}

// missed exchanges the key while a node is down. It does not start on the new key alone, and says what it needs.
func (r rotation) missed(before, after string) {
	r.t.Helper()
	late, others := r.nodes[2], r.nodes[:2]
	r.stop(late)
	r.step(others, "cluster", before, after)
	r.write(others[0], "cluster", after, before)
	r.write(others[1], "cluster", after, before)
	r.reload("members=n3", others...)
	for _, n := range others {
		r.write(n, "cluster", after)
		r.until(n.name+" lets the old key go", func() bool { // as soon as nothing needs it
			if err := n.process.Process.Signal(syscall.SIGHUP); err != nil {
				r.t.Fatal(err)
			}
			_, known := r.gauges(n.operator)[fmt.Sprintf("cloakroom_cluster_key_first{key=%q}", idOf(r.t, before))]
			return !known
		})
	}
	r.write(late, "cluster", after)
	r.start(late)
	<-late.ended
	if code, line := late.process.ProcessState.ExitCode(), r.lastLine(late); code != exitWrong || !strings.Contains(line, "add the former key to the file as the last line") {
		r.t.Errorf("the node that was down, with the new key alone: %d %s", code, line)
	}
	r.write(late, "cluster", after, before)
	r.start(late)
	r.awaitReady(late)
	r.step([]*suiteNode{late}, "cluster", after)
}
