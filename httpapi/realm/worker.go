package realm

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"sync/atomic"
	"time"
)

// worker computes password hashes in a process of its own, at the lowest priority: so a flood of logins takes little
// more than what the processors have left over, and neither lookups nor heartbeats wait for it. It also keeps tens of megabytes a hash away
// from this process's collector. Closing its input ends it, so it does not outlive this process.
//
// It is used by one hash at a time, from one goroutine at a time.
type worker struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out io.ReadCloser
	got *bufio.Reader // of out

	answered bool // it has computed something: it can
}

// startWorker starts a process that runs ServeWorker.
func startWorker(command []string) (*worker, error) {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.SysProcAttr = ownGroup() // a terminal's Ctrl-C is for the node, which still has requests to answer
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start hash worker: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start hash worker: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start hash worker: %w", err)
	}
	return &worker{cmd: cmd, in: in, out: out, got: bufio.NewReader(out)}, nil
}

// derive sends one task and waits for its answer. When ctx ends the process is killed: it can't be told to stop. After an
// error the worker is of no use any more.
func (w *worker) derive(ctx context.Context, password string, p phc) ([]byte, error) {
	stop := context.AfterFunc(ctx, w.kill)
	hash, err := w.exchange(password, p)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	w.answered = w.answered || err == nil
	return hash, err
}

func (w *worker) exchange(password string, p phc) ([]byte, error) {
	if err := writeFrame(w.in, appendTask(nil, password, p)); err != nil {
		return nil, fmt.Errorf("ask hash worker: %w", err)
	}
	hash, err := readFrame(w.got, maxHash)
	if err != nil {
		return nil, fmt.Errorf("hear from hash worker: %w", err)
	}
	if len(hash) != len(p.hash) {
		return nil, fmt.Errorf("hear from hash worker: %d bytes, not %d", len(hash), len(p.hash))
	}
	return hash, nil
}

// kill ends the process at once, and whatever waits for its pipes.
func (w *worker) kill() {
	_ = w.cmd.Process.Kill()
	_, _ = w.in.Close(), w.out.Close()
}

// close ends the process, which has nothing to do, and waits for it. How it ended says nothing.
func (w *worker) close() {
	_ = w.in.Close()
	timer := time.AfterFunc(workerClose/2, w.kill)
	defer timer.Stop()
	_ = w.cmd.Wait()
}

// ServeWorker is the process at the other end: it computes what it reads from in, one task after the other, and writes the
// hashes to out, until in ends.
func ServeWorker(in io.Reader, out io.Writer) error {
	if err := lowerPriority(); err != nil {
		return fmt.Errorf("lower the priority: %w", err)
	}
	return serveTasks(in, out)
}

func serveTasks(in io.Reader, out io.Writer) error {
	tasks := bufio.NewReader(in)
	for {
		task, err := readFrame(tasks, maxTask)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if errors.Is(err, errFrameVersion) {
			_ = writeFrame(out, nil) // the other end sees the version, and why there is no hash
		}
		if err != nil {
			return fmt.Errorf("read task: %w", err)
		}
		password, p, err := parseTask(task)
		if err != nil {
			return err
		}
		if err := writeFrame(out, deriveArgon2id(password, p)); err != nil {
			return fmt.Errorf("write hash: %w", err)
		}
	}
}

// Neither is ever seen by a client.
var (
	errBadTask      = errors.New("a hash worker was given what is no task")
	errFrameVersion = errors.New("node and hash worker are of different versions: restart the node")
)

// frameVersion begins each frame. Both ends are this program, but after an upgrade in place a node that still runs starts
// the new one. Count on from here with each change of a frame or a task. It begins at a value that no length does, which
// is what frames began with before.
const frameVersion = 0x81

// maxTask bounds a task: costs, lengths, salt and password.
const maxTask = 32 + maxSalt + MaxPassword

const (
	workerClose    = 2 * time.Second // how long it may take to end all workers
	workerPatience = 5 * time.Second // how long one may take for a hash: beyond, it is taken for stuck
	startPause     = 5 * time.Second // after a start that failed, until the next
	warnPause      = time.Minute     // between two warnings
)

func appendTask(dst []byte, password string, p phc) []byte {
	dst = binary.BigEndian.AppendUint32(dst, p.memory)
	dst = binary.BigEndian.AppendUint32(dst, p.iterations)
	dst = append(dst, p.parallelism, byte(len(p.hash)), byte(len(p.salt)))
	return append(append(dst, p.salt...), password...)
}

func parseTask(b []byte) (password string, p phc, err error) {
	const head = 11
	if len(b) < head || len(b) < head+int(b[10]) {
		return "", phc{}, errBadTask
	}
	p.memory, p.iterations, p.parallelism = binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:]), b[8]
	p.hash, p.salt = make([]byte, b[9]), b[head:head+int(b[10])]
	password = string(b[head+int(b[10]):])
	if !p.withinBounds() || len(p.hash) < minHash || len(p.hash) > maxHash || len(password) > MaxPassword {
		return "", phc{}, errBadTask
	}
	return password, p, nil
}

func writeFrame(w io.Writer, body []byte) error {
	frame := append(make([]byte, 0, 3+len(body)), frameVersion)
	frame = binary.BigEndian.AppendUint16(frame, uint16(len(body)))
	_, err := w.Write(append(frame, body...))
	return err
}

func readFrame(r io.Reader, most int) ([]byte, error) {
	var head [3]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	if head[0] != frameVersion {
		return nil, errFrameVersion
	}
	n := int(binary.BigEndian.Uint16(head[1:]))
	if n > most {
		return nil, errBadTask
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); errors.Is(err, io.EOF) {
		return nil, io.ErrUnexpectedEOF
	} else if err != nil {
		return nil, err
	}
	return body, nil
}

// workers has a worker for each hash that may run at once, started when it is first needed.
type workers struct {
	command  []string
	idle     chan *worker // nil: a place for one that is not started
	failed   func(err error, hashes int)
	inline   atomic.Uint64 // hashes that were computed here, for want of a worker
	patience time.Duration // workerPatience but in tests
	closing  context.Context
	cancel   context.CancelFunc

	mu      sync.Mutex
	pause   time.Time // until then none is started
	why     error     // there is a pause
	warned  time.Time // when failed was called last
	unasked int       // hashes computed here since then
}

// newWorkers starts none yet. failed is called with the number of hashes that were computed here since its last call.
func newWorkers(command []string, n int, failed func(err error, hashes int)) *workers {
	w := &workers{command: command, idle: make(chan *worker, n), failed: failed, patience: workerPatience}
	w.closing, w.cancel = context.WithCancel(context.Background())
	for range n {
		w.idle <- nil
	}
	return w
}

// derive computes a hash in a worker, or here if there can be none: a login matters more than its priority. The caller has
// taken a place at the gate, so a worker is free, but for one whose caller has gone. The error is that of the context, or
// context.Canceled when the workers are closed.
func (ws *workers) derive(ctx context.Context, password string, p phc) ([]byte, error) {
	var w *worker
	select {
	case w = <-ws.idle:
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-ws.closing.Done():
		return nil, ws.closing.Err()
	}
	hash, w, err := ws.ask(ctx, w, password, p)
	ws.idle <- w
	switch {
	case err == nil:
		return hash, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case ws.closing.Err() != nil:
		return nil, ws.closing.Err()
	}
	ws.inline.Add(1)
	ws.warn(err)
	return deriveArgon2id(password, p), nil
}

// ask computes a hash in a worker, a new one if it is nil. It returns the worker if it can be asked again.
func (ws *workers) ask(ctx context.Context, w *worker, password string, p phc) ([]byte, *worker, error) {
	if w == nil {
		var err error
		if w, err = ws.start(); err != nil {
			return nil, nil, err
		}
	}
	bounded, cancel := context.WithTimeout(ctx, ws.patience)
	defer cancel()
	defer context.AfterFunc(ws.closing, cancel)()
	hash, err := w.derive(bounded, password, p)
	if err == nil {
		return hash, w, nil
	}
	w.kill()
	w.close()
	if !w.answered && ctx.Err() == nil {
		ws.hold(err) // the next one would do no better
	}
	return nil, nil, err
}

// start starts a worker, but for a while after one that could not be started or used.
func (ws *workers) start() (*worker, error) {
	ws.mu.Lock()
	pause, why := ws.pause, ws.why
	ws.mu.Unlock()
	if time.Now().Before(pause) {
		return nil, why
	}
	w, err := startWorker(ws.command)
	if err != nil {
		ws.hold(err)
	}
	return w, err
}

func (ws *workers) hold(why error) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.pause, ws.why = time.Now().Add(startPause), why
}

// warn says that a hash is computed here, unless that has just been said.
func (ws *workers) warn(err error) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.unasked++
	if now := time.Now(); ws.warned.IsZero() || now.Sub(ws.warned) >= warnPause {
		ws.failed(err, ws.unasked)
		ws.warned, ws.unasked = now, 0
	}
}

// close ends all workers, within workerClose. A hash under way is given up; none may begin.
func (ws *workers) close() {
	ws.cancel()
	var group sync.WaitGroup
	for range cap(ws.idle) {
		if w := <-ws.idle; w != nil {
			group.Go(w.close)
		}
	}
	group.Wait()
}
