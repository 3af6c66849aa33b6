package main

import (
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
)

// Two of three nodes are lost: the third one can't know what they have acknowledged in their last moment. What it does
// with lookups then is for its operator to say.
func TestCutOff(t *testing.T) {
	t.Parallel()
	s := newSuite(t)
	for i, answer := range []string{"refuse", "local", "refuse"} {
		s.nodes[i].flags = append(s.nodes[i].flags, "--when-cut-off", answer)
	}
	s.nodes[1].flags = append(s.nodes[1].flags, "--allow-local-reads")
	s.startAll()
	client := s.client()
	token := s.login(client, s.nodes[2], "admin", suitePassword).cookie("id")
	look := func(n *suiteNode, path, consistency string) answer {
		t.Helper()
		a, err := s.try(t.Context(), client, http.MethodGet, s.url(n)+path, "", "Cookie", "id="+token, "Consistency", consistency)
		if err != nil {
			t.Fatalf("%s: %v", n.name, err)
		}
		return a
	}
	for _, n := range s.nodes {
		for _, consistency := range []string{"", "lease", "quorum"} {
			// A machine that stands still cuts its nodes off for a moment, too.
			s.until(fmt.Sprintf("%s, asked for %q, answers as one of three", n.name, consistency), func() bool {
				a := look(n, "/api/session", consistency)
				return a.StatusCode == http.StatusOK && a.Header.Get("Consistency") == ""
			})
		}
	}

	refuses, goesOn := s.nodes[0], s.nodes[1]
	s.kill(s.nodes[2])
	s.kill(refuses)
	s.until("n2 knows no leader", func() bool { return look(goesOn, "/readyz", "").StatusCode == http.StatusServiceUnavailable })
	expected := []struct {
		path, consistency string
		status            int
		says              string
	}{
		{"/api/session", "", http.StatusOK, "local"},
		{"/auth/verify", "", http.StatusOK, "local"},
		{"/auth/verify", "quorum", http.StatusOK, "local"}, // not for who wants to be let in to say
		{"/api/session", "lease", http.StatusServiceUnavailable, ""},
		{"/api/session", "quorum", http.StatusServiceUnavailable, ""},
		{"/api/session", "local", http.StatusOK, ""},
		{"/api/users", "", http.StatusServiceUnavailable, ""},
		{"/api/users", "local", http.StatusServiceUnavailable, ""}, // a role may have been taken away since
	}
	// A lease may still hold for a moment; what it answers is right, and says nothing.
	s.until("n2 answers as a node that is cut off", func() bool {
		right := make([]bool, len(expected))
		var group sync.WaitGroup
		for i, c := range expected {
			group.Go(func() {
				a, err := s.try(t.Context(), client, http.MethodGet, s.url(goesOn)+c.path, "", "Cookie", "id="+token, "Consistency", c.consistency)
				right[i] = err == nil && a.StatusCode == c.status && a.Header.Get("Consistency") == c.says
			})
		}
		group.Wait()
		return !slices.Contains(right, false)
	})
	token = "00000000-0000-4000-8000-000000000000"
	if a := look(goesOn, "/api/session", ""); a.StatusCode != http.StatusUnauthorized || a.Header.Get("Consistency") != "local" {
		t.Errorf("a token that nobody was given: %d %q %s", a.StatusCode, a.Header.Get("Consistency"), a.text)
	}

	s.kill(goesOn)
	s.start(refuses)
	s.until("n1 listens", func() bool {
		resp, err := client.Get(s.url(refuses) + "/healthz")
		if err != nil {
			return false
		}
		return resp.Body.Close() == nil
	})
	if a := look(refuses, "/api/session", ""); a.StatusCode != http.StatusServiceUnavailable || a.Header.Get("Consistency") != "" {
		t.Errorf("a node that is to refuse: %d %q %s", a.StatusCode, a.Header.Get("Consistency"), a.text)
	}
}
