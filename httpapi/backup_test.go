package httpapi

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"cloakroom/cluster"
	"cloakroom/cluster/session"
	"cloakroom/httpapi/admin"
	"cloakroom/httpapi/audit"
)

// fakeBackups captures a state that is write's; err: it can't.
type fakeBackups struct {
	levels []cluster.Level
	write  func(w io.Writer) (int64, error)
	err    error
}

func (b *fakeBackups) Backup(_ context.Context, level cluster.Level) (admin.Backup, error) {
	b.levels = append(b.levels, level)
	return writerTo(b.write), b.err
}

type writerTo func(w io.Writer) (int64, error)

func (w writerTo) WriteTo(to io.Writer) (int64, error) { return w(to) }

// theState is longer than any buffer on its way.
var theState = strings.Repeat("the state of the cluster ", 100_000)

func writeState(w io.Writer) (int64, error) {
	n, err := io.WriteString(w, theState)
	return int64(n), err
}

func newBackupFixture(t *testing.T) (*fixture, *fakeBackups, *lines) {
	t.Helper()
	b := &fakeBackups{write: writeState}
	log, out := newAuditLog(t)
	return newFixture(t, func(cfg *Config) { cfg.Backups, cfg.Audit = b, log }).opened(), b, out
}

const backupPath = "/api/cluster/backup"

// post asks for a backup over the network.
func (f *fixture) post(query, cookie string) (status int, body string, err error) {
	f.t.Helper()
	req, err := http.NewRequestWithContext(f.t.Context(), http.MethodPost, "http://"+f.Addr().String()+backupPath+query, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	req.Header.Set("Cookie", cookie)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}

// An admin gets the whole of it, at the level that was asked for, and the audit log says so.
func TestBackup(t *testing.T) {
	f, b, out := newBackupFixture(t)
	root := "id=" + f.create(session.Create{Username: "root"}).Text
	for query, level := range map[string]cluster.Level{"": cluster.Quorum, "?level=quorum": cluster.Quorum, "?level=local": cluster.Local} {
		status, body, err := f.post(query, root)
		if status != 200 || body != theState || err != nil {
			t.Fatalf("%d, %d bytes of %d, %v", status, len(body), len(theState), err)
		}
		if got := b.levels[len(b.levels)-1]; got != level {
			t.Errorf("%q: level %v", query, got)
		}
		if e := out.last(t); e.Name != audit.Changed || e.Outcome != audit.OK || e.Target != "backup" || e.By != "root@native" || e.Detail != level.String() {
			t.Errorf("audited as %+v", e)
		}
	}
}

// Nobody else does, and no page of another origin has one made.
func TestBackupIsForAdmins(t *testing.T) {
	f, b, _ := newBackupFixture(t)
	ann, svc := idCookie(f.create(session.Create{Username: "ann"})), idCookie(f.create(session.Create{Username: "svc"}))
	root := idCookie(f.create(session.Create{Username: "root"}))
	f.expect(f.send("POST", backupPath), 401, "session-invalid")
	f.expect(f.send("POST", backupPath, ann), 403, "forbidden")
	f.expect(f.send("POST", backupPath, svc), 403, "forbidden")
	f.expect(f.send("POST", backupPath, root, header("Sec-Fetch-Site", "cross-site")), 403, "foreign-origin")
	f.expect(f.send("GET", backupPath, root), 405, "method-not-allowed")
	f.expect(f.send("POST", backupPath+"?level=lease", root), 400, "bad-field")
	if len(b.levels) > 0 {
		t.Error("a state was captured")
	}
	b.err = cluster.ErrNoLeader
	for range 2 {
		f.expect(f.send("POST", backupPath, root), 503, "no-leader")
	}
}

// A node writes one at a time; one that is cut off, for whatever reason, makes room for the next.
func TestOneBackupAtATime(t *testing.T) {
	f, b, _ := newBackupFixture(t)
	root := "id=" + f.create(session.Create{Username: "root"}).Text
	begun, goOn := make(chan struct{}), make(chan struct{})
	b.write = func(w io.Writer) (int64, error) {
		close(begun)
		<-goOn
		return writeState(w)
	}
	type result struct {
		body string
		err  error
	}
	first := make(chan result, 1)
	go func() {
		_, body, err := f.post("", root)
		first <- result{body, err}
	}()
	<-begun
	f.expect(f.send("POST", backupPath, cookie(root)), 409, "backup-runs")
	close(goOn)
	if r := <-first; r.body != theState || r.err != nil {
		t.Errorf("the first: %d bytes, %v", len(r.body), r.err)
	}

	b.write = func(w io.Writer) (int64, error) {
		n, err := io.WriteString(w, theState[:len(theState)/2])
		return int64(n), errors.Join(errors.New("a shard is gone"), err)
	}
	f.again(t, root, func(body string) bool { return len(body) < len(theState) })
	b.write = func(w io.Writer) (int64, error) {
		panicking := errors.New("nobody reads any more")
		for {
			if n, err := writeState(w); err != nil {
				return n, errors.Join(panicking, err)
			}
		}
	}
	f.leave(t, root)
	b.write = writeState
	f.again(t, root, func(body string) bool { return body == theState })
	if logs := f.logs.String(); !strings.Contains(logs, "a shard is gone") || !strings.Contains(logs, "nobody reads any more") {
		t.Error("the log does not say that backups were cut off")
	}
}

// A server that closes cuts a backup off, and waits until nobody writes it any more.
func TestCloseCutsABackupOff(t *testing.T) {
	f, b, _ := newBackupFixture(t)
	root := "id=" + f.create(session.Create{Username: "root"}).Text
	over := make(chan struct{})
	b.write = func(w io.Writer) (int64, error) {
		defer close(over)
		for {
			if n, err := writeState(w); err != nil {
				return n, err
			}
		}
	}
	f.leaveOpen(t, root)
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	select {
	case <-over:
	default:
		t.Error("it is still being written")
	}
}

// again asks until the one before has been noticed to be over.
func (f *fixture) again(t *testing.T, root string, good func(body string) bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		status, body, _ := f.post("", root)
		if status == 200 {
			if !good(body) {
				t.Errorf("%d bytes", len(body))
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d %s", status, body)
		}
	}
}

// leave asks for a backup and goes away.
func (f *fixture) leave(t *testing.T, root string) {
	t.Helper()
	if err := f.leaveOpen(t, root).Close(); err != nil {
		t.Fatal(err)
	}
}

// leaveOpen asks for a backup and reads no more than its beginning.
func (f *fixture) leaveOpen(t *testing.T, root string) net.Conn {
	t.Helper()
	for {
		conn, err := net.Dial("tcp", f.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		head := make([]byte, 15)
		_, err = io.WriteString(conn, "POST "+backupPath+" HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nCookie: "+root+"\r\n\r\n")
		if err == nil {
			_, err = io.ReadFull(conn, head)
		}
		if err != nil {
			t.Fatal(err)
		}
		if string(head) == "HTTP/1.1 200 OK" {
			return conn
		}
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
