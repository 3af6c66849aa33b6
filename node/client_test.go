package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// testClient returns a client of a server that answers by handler.
func testClient(t *testing.T, handler http.HandlerFunc) *client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	a := &app{stderr: t.Output(), lookup: func(name string) (string, bool) { return "the-password", name == "CLOAKROOM_PASSWORD" }}
	c, err := a.client(&clientFlags{URL: server.URL, User: "ann", UserRealm: "staff"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestClientLogsIn(t *testing.T) {
	c := testClient(t, func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		if user != "ann" || password != "the-password" || r.URL.Query().Get("realmName") != "staff" || r.URL.Query().Get("limit") == "" {
			t.Errorf("user %q, query %q", user, r.URL.RawQuery)
		}
		if _, err := w.Write([]byte("[]")); err != nil {
			t.Error(err)
		}
	})
	if _, err := c.users(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestClientFollowsNoRedirect keeps credentials from going where a redirect points.
func TestClientFollowsNoRedirect(t *testing.T) {
	calls := 0
	c := testClient(t, func(w http.ResponseWriter, r *http.Request) {
		calls++
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	})
	err := c.call(t.Context(), http.MethodGet, "/api/users", nil, nil, nil)
	refusal, ok := errors.AsType[*apiError](err)
	if !ok || refusal.Status != http.StatusTemporaryRedirect || calls != 1 {
		t.Errorf("%d calls, %v", calls, err)
	}
}

func TestClientErrors(t *testing.T) {
	for body, want := range map[string]string{
		`{"code":"last-admin","message":"make another one first"}`: "make another one first (last-admin)",
		`<html>nginx</html>`: "the node answered 502 Bad Gateway",
		`{"other":1}`:        "the node answered 502 Bad Gateway",
	} {
		c := testClient(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadGateway)
			if _, err := w.Write([]byte(body)); err != nil {
				t.Error(err)
			}
		})
		if err := c.call(t.Context(), http.MethodGet, "/", nil, nil, nil); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %q", body, err, want)
		}
	}
	c := testClient(t, func(w http.ResponseWriter, _ *http.Request) {
		if _, err := w.Write([]byte("no JSON")); err != nil {
			t.Error(err)
		}
	})
	if err := c.call(t.Context(), http.MethodGet, "/cluster", nil, nil, &clusterView{}); err == nil || !strings.Contains(err.Error(), "/cluster") {
		t.Errorf("an answer that is no JSON: %v", err)
	}
}

// TestRealmIsEnded: --all with a realm ends that realm's sessions, those that are made meanwhile too, and no others. It was
// a flag that did nothing once, and logged everybody out.
func TestRealmIsEnded(t *testing.T) {
	var mu sync.Mutex
	of := map[string]string{"ann": "corp", "bob": "native", "kim": "corp"}
	late := true
	handler := func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		query := r.URL.Query()
		if r.Method == http.MethodDelete {
			if query.Has("all") || query.Get("realm") != "corp" || of[query.Get("user")] != "corp" {
				t.Errorf("DELETE %s", r.URL.RawQuery)
			}
			delete(of, query.Get("user"))
			if late {
				late, of["eve"] = false, "corp"
			}
			w.WriteHeader(http.StatusNoContent)
			return
		}
		var page struct {
			Sessions []sessionView `json:"sessions"`
		}
		for name, realm := range of {
			page.Sessions = append(page.Sessions, sessionView{Username: name, RealmName: realm})
		}
		if err := json.NewEncoder(w).Encode(page); err != nil {
			t.Error(err)
		}
	}
	c := testClient(t, handler)
	var out bytes.Buffer
	cmd := &sessionsEndCmd{All: true, Realm: "corp"}
	if err := cmd.endRealm(t.Context(), &app{stdout: &out}, c); err != nil {
		t.Fatal(err)
	}
	if len(of) != 1 || of["bob"] != "native" {
		t.Errorf("left: %v", of)
	}
	if want := "3 sessions of 3 users of the realm corp ended: nobody of it is logged in any more\n"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}

func TestControlSocketIsPrivate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "control.sock")
	ln, err := listenControl(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	// One that was left behind by a node that was killed is taken over.
	if unix, ok := ln.(*net.UnixListener); ok {
		unix.SetUnlinkOnClose(false)
	}
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := listenControl(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}

func TestOneNodeForEachDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	lock, err := lockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lockDir(dir); err == nil || !strings.Contains(err.Error(), "in use by another node") {
		t.Errorf("a second lock: %v", err)
	}
	if err := lock.Close(); err != nil {
		t.Fatal(err)
	}
	lock, err = lockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := lock.Close(); err != nil {
		t.Error(err)
	}
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode of the directory: %v, %v", info.Mode(), err)
	}
}
