package admin

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"cloakroom/cluster"
	"cloakroom/cluster/session"
	"cloakroom/httpapi/access"
	"cloakroom/httpapi/exchange"
)

// Backups captures the state of the cluster. At level Local that is what this node has; at Quorum, all that was
// acknowledged before.
type Backups interface {
	Backup(ctx context.Context, level cluster.Level) (Backup, error)
}

// Backup is a captured state, to be written once as the file that a backup is.
type Backup io.WriterTo

// backups is /api/cluster/backup.
type backups struct {
	source  Backups // nil: none can be made
	running atomic.Bool
	served  *sync.WaitGroup // those that are being written
	log     *slog.Logger
	state   *access.State
	callers *access.Callers
	diary   *access.Diary
}

// errLevel refuses a level that a backup does not have.
var errLevel = exchange.BadField("level is quorum, or local for what this node has without asking the others")

// MakeBackup is POST /api/cluster/backup, by an admin: the answer is the file, written as the state is walked through. It
// is a POST, because it costs the node something and because no page of another origin shall have it made.
//
// The answer has begun before it is known whether all of it can be written. One that is cut off has no end, which its
// reader sees; the connection is closed after it.
func (b *backups) MakeBackup(rc *exchange.Request) error {
	p, err := b.callers.Authorize(rc, session.RoleAdmin)
	if err != nil {
		return err
	}
	level := cluster.Quorum
	switch string(rc.Ctx.QueryArgs().Peek("level")) {
	case "", "quorum":
	case "local":
		level = cluster.Local
	default:
		return errLevel
	}
	if b.source == nil {
		return exchange.ErrNotFound
	}
	if !b.running.CompareAndSwap(false, true) {
		return exchange.ErrBackupRuns
	}
	captured, err := b.source.Backup(b.state.Context(rc), level)
	b.diary.AuditChange(rc, p, "backup", level.String(), err)
	if err != nil {
		b.running.Store(false)
		return err
	}
	id := string(rc.RequestID())
	h := &rc.Ctx.Response.Header
	h.SetContentType("application/octet-stream")
	h.Set(fasthttp.HeaderContentDisposition, `attachment; filename="cloakroom.backup"`)
	rc.Ctx.SetConnectionClose()
	begun := time.Now()
	paced := &pacedWriter{conn: rc.Ctx.Conn()}
	b.served.Add(1)
	rc.Ctx.SetBodyStreamWriter(func(w *bufio.Writer) { // runs until the answer is written, or can't be
		defer b.served.Done()
		defer b.running.Store(false)
		paced.w = w
		n, err := captured.WriteTo(paced)
		if err = errors.Join(err, w.Flush()); err != nil {
			b.log.Warn("a backup was cut off", "request", id, "bytes", n, "too_slow", paced.late(), "error", err)
			return
		}
		b.log.Info("a backup was written", "request", id, "bytes", n, "took", time.Since(begun))
	})
	return nil
}

// pacedWriter wants a client to take a backup at backupRate at least, after backupGrace: as long as one is written the
// machine keeps the former version of what changes. What this node takes for it, with all else that it has to do, is not
// the client's.
type pacedWriter struct {
	w      io.Writer
	conn   net.Conn
	n      int64
	waited time.Duration // for the client, so far
}

// left is how long the client may still let this node wait.
func (p *pacedWriter) left() time.Duration {
	return backupGrace + time.Duration(p.n/backupRate)*time.Second - p.waited
}

func (p *pacedWriter) late() bool { return p.left() <= 0 }

// Write moves the connection's deadline, which fasthttp has set for an ordinary answer, as far as the pace allows.
func (p *pacedWriter) Write(b []byte) (int, error) {
	if p.late() {
		return 0, os.ErrDeadlineExceeded
	}
	begun := time.Now()
	if err := p.conn.SetWriteDeadline(begun.Add(p.left())); err != nil {
		return 0, err
	}
	n, err := p.w.Write(b)
	p.n += int64(n)
	p.waited += time.Since(begun)
	return n, err
}
