package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"cloakroom/cluster"
	"cloakroom/cluster/session"
	"cloakroom/cluster/wire"
	"cloakroom/httpapi/credential"
	"cloakroom/httpapi/support"
)

// openAlone opens a node of one in this process, on ports that the system chooses, and waits until it is ready.
func openAlone(t *testing.T) *Node {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Name, cfg.DataDir = "n1", t.TempDir()
	cfg.HTTP, cfg.Operator, cfg.Peer, cfg.Gossip = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	cfg.Heartbeat, cfg.LeaseDuration = MinHeartbeat, cluster.MinLease // there is nobody who could be elected too early
	if err := errors.Join(cfg.complete(), cfg.Validate()); err != nil {
		t.Fatal(err)
	}
	n, err := Open(cfg, slog.New(slog.NewTextHandler(t.Output(), nil)), new(slog.LevelVar), new(support.Ring), secrets{cluster: wire.DevelopmentRing()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := n.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	return n
}

// must brings a command into the log.
func (n *Node) must(t *testing.T, cmd session.Command) {
	t.Helper()
	if _, err := n.cluster.Do(t.Context(), cmd); err != nil {
		t.Error(err)
	}
}

// sendLittle has the system keep a few kilobytes only for a connection to the API whose other end does not read.
func (n *Node) sendLittle(t *testing.T) {
	t.Helper()
	raw, err := n.api.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_SNDBUF, 16<<10) // connections inherit it
	})
	if err = errors.Join(err, failed); err != nil {
		t.Fatal(err)
	}
}

// TestSlowReaderLeavesTimeToLeave: who does not read his answer keeps a node from leaving in order no longer than
// LeaveTime before the end, and is cut off then.
func TestSlowReaderLeavesTimeToLeave(t *testing.T) {
	t.Parallel()
	n := openAlone(t)
	n.sendLittle(t)
	n.must(t, &session.CreateUser{ID: "1", Realm: session.NativeRealm, Username: firstAdmin, RoleNames: []string{session.RoleAdmin}})
	login := session.Create{
		Realm: session.NativeRealm, Username: firstAdmin, UserID: "1", Surface: session.SurfaceFusion, Idle: time.Hour, Lifetime: time.Hour,
	}
	err := n.cluster.Read(t.Context(), cluster.Local, func(m *session.Machine) {
		user, _ := m.UserByName(login.Realm, login.Username)
		realm, _ := m.RealmByName(login.Realm)
		login.UserRev, login.RealmRev = user.Rev, realm.Rev
	})
	if err != nil {
		t.Fatal(err)
	}
	var filling sync.WaitGroup
	var admin credential.Token
	for range 64 {
		cmd := login
		admin = credential.Mint()
		cmd.Key = admin.Key
		for i := range session.MaxSessionBytes/session.MaxAttributeValue - 1 {
			noise := make([]byte, session.MaxAttributeValue*3/4) // it is compressed
			_, _ = rand.Read(noise)                              // never fails (its documentation)
			cmd.Attrs = append(cmd.Attrs, session.Attr{Key: strconv.Itoa(i), Value: base64.StdEncoding.EncodeToString(noise)})
		}
		filling.Go(func() { n.must(t, &cmd) })
	}
	filling.Wait()

	conn, err := net.Dial("tcp", n.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(conn, "POST /api/cluster/backup HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nCookie: id=%s\r\n\r\n", admin.Text); err != nil {
		t.Fatal(err)
	}
	head := make([]byte, len("HTTP/1.1 200"))
	if _, err := conn.Read(head); err != nil || string(head) != "HTTP/1.1 200" {
		t.Fatalf("%q, %v", head, err)
	}

	ctx, cancel := context.WithTimeout(t.Context(), LeaveTime+300*time.Millisecond)
	defer cancel()
	if err := n.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the answer was read, or not waited for: %v", err)
	}
	if rest, err := io.ReadAll(conn); err == nil && bytes.HasSuffix(rest, []byte("\r\n0\r\n\r\n")) {
		t.Error("the request went on when the last uses had been replicated")
	}
	var identity struct{ Since int64 }
	text, err := os.ReadFile(filepath.Join(n.cfg.DataDir, "node.json"))
	if err == nil {
		err = json.Unmarshal(text, &identity)
	}
	if err != nil || identity.Since == 0 {
		t.Errorf("the next start can't vouch for the uses of this one: %s, %v", text, err)
	}
}
