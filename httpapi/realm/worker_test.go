package realm

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// workerArgument makes this test's own program a worker.
const workerArgument = "serve-as-hash-worker"

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == workerArgument {
		if err := ServeWorker(os.Stdin, os.Stdout); err != nil {
			panic(err)
		}
		return
	}
	os.Exit(m.Run())
}

func workerCommand(t *testing.T) []string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return []string{path, workerArgument}
}

// slow makes a worker's patience longer than any machine is busy for: at the lowest priority a hash may take long there.
const slow = 5 * time.Minute

// newWorkedHasher is a hasher with patient workers.
func newWorkedHasher(t *testing.T, cfg HasherConfig) *Hasher {
	t.Helper()
	h := newTestHasher(t, cfg)
	h.apart.patience = slow
	return h
}

// A worker computes what this process would, again and again, at the lowest priority, and goes when it is closed.
func TestWorker(t *testing.T) {
	h := newWorkedHasher(t, HasherConfig{Concurrent: 2, Worker: workerCommand(t)})
	for _, password := range []string{"correct horse", strings.Repeat("x", MaxPassword), "ä\x00 "} {
		stored, err := h.HashPassword(t.Context(), strings.Repeat(password, 1+8/len(password)))
		if err != nil {
			if errors.Is(err, ErrPasswordTooLong) || errors.Is(err, ErrPasswordTooShort) {
				continue
			}
			t.Fatal(err)
		}
		p, err := parsePHC(stored)
		if err != nil {
			t.Fatal(err)
		}
		if want := deriveArgon2id(strings.Repeat(password, 1+8/len(password)), p); !bytes.Equal(p.hash, want) {
			t.Errorf("%q: another hash than here", password)
		}
	}
	if s := h.Stats(); s.Inline != 0 || s.Hashes == 0 {
		t.Errorf("%+v", s)
	}
	w := <-h.apart.idle
	if w == nil {
		h.apart.idle <- w
		w = <-h.apart.idle
	}
	pid := w.cmd.Process.Pid
	for _, p := range priorities(t, pid) {
		if p != "nice 19, policy 0" { // policy 5 would starve it
			t.Errorf("a thread with %s", p)
		}
	}
	h.apart.idle <- w
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	if err := syscall.Kill(pid, 0); err == nil {
		t.Error("it is still there")
	}
}

// priorities returns how the threads of a process are scheduled.
func priorities(t *testing.T, pid int) (all []string) {
	t.Helper()
	dir := "/proc/" + strconv.Itoa(pid) + "/task"
	tasks, err := os.ReadDir(dir)
	if err != nil {
		t.Skip("no /proc: ", err)
	}
	for _, task := range tasks {
		stat, err := os.ReadFile(dir + "/" + task.Name() + "/stat")
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // it has ended
		}
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		fields := strings.Fields(rest)
		all = append(all, "nice "+fields[16]+", policy "+fields[38])
	}
	if len(all) == 0 {
		t.Error("no threads")
	}
	return all
}

// A login is answered without a worker, too; the log says what that costs, and the next one gets a new worker.
func TestWorkerIsLost(t *testing.T) {
	var log bytes.Buffer
	h := newWorkedHasher(t, HasherConfig{Concurrent: 1, Worker: workerCommand(t), Logger: slog.New(slog.NewTextHandler(&log, nil))})
	check := func() {
		t.Helper()
		if ok, err := h.check(t.Context(), nil, "x"); ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	check()
	w := <-h.apart.idle
	if err := w.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	h.apart.idle <- w
	check()
	if s := h.Stats(); s.Inline != 1 || !strings.Contains(log.String(), "at full priority") {
		t.Errorf("%+v, log %s", s, log.String())
	}
	check()
	if s := h.Stats(); s.Inline != 1 {
		t.Errorf("no new worker: %+v", s)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	h = newTestHasher(t, HasherConfig{Concurrent: 1, Worker: []string{"/no/such/program"}})
	check()
	if s := h.Stats(); s.Inline != 1 {
		t.Errorf("%+v", s)
	}
}

// The two ends refuse what is no task, and an end in the midst of one.
func TestWorkerFrames(t *testing.T) {
	p := phc{costs: costs{MinMemory, 1, 1}, salt: random(saltSize), hash: make([]byte, hashSize)}
	task := appendTask(nil, "secret", p)
	for n := range len(task) {
		var frame bytes.Buffer
		if err := writeFrame(&frame, task[:n]); err != nil {
			t.Fatal(err)
		}
		err := serveTasks(&frame, io.Discard)
		if head := 11 + saltSize; n < head && !errors.Is(err, errBadTask) || n >= head && err != nil {
			t.Errorf("%d bytes: %v", n, err)
		}
		if n > head(task) {
			break // the rest is part of a password
		}
	}
	var whole bytes.Buffer
	if err := writeFrame(&whole, task); err != nil {
		t.Fatal(err)
	}
	for n := 1; n < whole.Len(); n++ {
		if err := serveTasks(bytes.NewReader(whole.Bytes()[:n]), io.Discard); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut after %d bytes: %v", n, err)
		}
	}
	p.memory = MaxMemory + 1
	if _, _, err := parseTask(appendTask(nil, "secret", p)); !errors.Is(err, errBadTask) {
		t.Errorf("costs without bounds: %v", err)
	}
	if err := serveTasks(bytes.NewReader([]byte{frameVersion, 0xff, 0xff}), io.Discard); !errors.Is(err, errBadTask) {
		t.Errorf("a task without bounds: %v", err)
	}
}

func head(task []byte) int { return 11 + int(task[10]) }

// A caller that has gone waits for no worker.
func TestWorkerIsNotWaitedFor(t *testing.T) {
	ws := newWorkers(workerCommand(t), 1, func(error, int) {})
	<-ws.idle
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := ws.derive(ctx, "x", phc{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func testTask() (string, phc) {
	return "correct horse", phc{costs: costs{MinMemory, 1, 1}, salt: random(saltSize), hash: make([]byte, hashSize)}
}

// stopped returns workers whose one worker has computed something and then does nothing any more.
func stopped(t *testing.T, failed func(error, int)) (*workers, *worker) {
	t.Helper()
	ws := newWorkers(workerCommand(t), 1, failed)
	ws.patience = slow
	t.Cleanup(ws.close)
	password, p := testTask()
	if _, err := ws.derive(t.Context(), password, p); err != nil {
		t.Fatal(err)
	}
	w := <-ws.idle
	if err := w.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	ws.idle <- w
	return ws, w
}

func wantDead(t *testing.T, w *worker) {
	t.Helper()
	if w.cmd.ProcessState == nil {
		t.Error("the worker has not been waited for")
	}
}

// A caller that goes while a worker computes takes the worker along, and leaves its place.
func TestWorkerIsStuckAndCallerGoes(t *testing.T) {
	ws, w := stopped(t, func(error, int) {})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	password, p := testTask()
	start := time.Now()
	if _, err := ws.derive(ctx, password, p); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > slow/2 {
		t.Errorf("%v after %v", err, time.Since(start))
	}
	wantDead(t, w)
	if got := <-ws.idle; got != nil {
		t.Error("it is to be asked again")
	} else {
		ws.idle <- nil
	}
	if _, err := ws.derive(t.Context(), password, p); err != nil || ws.inline.Load() != 0 {
		t.Errorf("%v, %d inline", err, ws.inline.Load())
	}
}

// Closing waits for no hash, and not for one worker after the other.
func TestWorkersAreClosedInTime(t *testing.T) {
	ws, w := stopped(t, func(error, int) {})
	password, p := testTask()
	got := make(chan error, 1)
	go func() {
		_, err := ws.derive(t.Context(), password, p)
		got <- err
	}()
	for len(ws.idle) > 0 {
		time.Sleep(time.Millisecond)
	}
	start := time.Now()
	ws.close()
	if took := time.Since(start); took > slow/2 {
		t.Errorf("closing took %v", took)
	}
	if err := <-got; !errors.Is(err, context.Canceled) {
		t.Errorf("the hash: %v", err)
	}
	wantDead(t, w)
	if _, err := ws.derive(t.Context(), password, p); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end: %v", err)
	}
	for range cap(ws.idle) {
		ws.idle <- nil // for the clean-up
	}

	ws = newWorkers(nil, 3, func(error, int) {})
	var all sync.WaitGroup // those that are told to end
	all.Add(3)
	for range 3 {
		<-ws.idle
		w, err := startWorker(workerCommand(t))
		if err != nil {
			t.Fatal(err)
		}
		if err := w.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		w.in = &meetingInput{WriteCloser: w.in, all: &all}
		ws.idle <- w
	}
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		ws.close()
	}()
	select {
	case <-closed:
	case <-time.After(slow / 2):
		t.Fatal("three that are stopped are not closed, or one after the other")
	}
}

// meetingInput is a worker's input that is closed when those of the others are about to be closed, too.
type meetingInput struct {
	io.WriteCloser
	all  *sync.WaitGroup
	once sync.Once
}

func (m *meetingInput) Close() error {
	m.once.Do(m.all.Done)
	m.all.Wait()
	return m.WriteCloser.Close()
}

// A worker that takes too long is replaced; the caller gets the hash from here.
func TestWorkerIsStuck(t *testing.T) {
	warned := 0
	ws, w := stopped(t, func(error, int) { warned++ })
	ws.patience = 50 * time.Millisecond
	password, p := testTask()
	hash, err := ws.derive(t.Context(), password, p)
	if err != nil || !bytes.Equal(hash, deriveArgon2id(password, p)) || ws.inline.Load() != 1 || warned != 1 {
		t.Errorf("%v, %d inline, %d warnings", err, ws.inline.Load(), warned)
	}
	wantDead(t, w)
	ws.patience = slow
	if _, err := ws.derive(t.Context(), password, p); err != nil || ws.inline.Load() != 1 {
		t.Errorf("no new one: %v, %d inline", err, ws.inline.Load())
	}
}

// Where no worker can be had, none is tried for at each login, nor said so: be there no program, one that is mute, or
// one of another version.
func TestWorkerCannotBeHad(t *testing.T) {
	for name, command := range map[string]string{
		"no program":    "",
		"mute":          `echo >>"$0"; exec sleep 100`,
		"other version": `echo >>"$0"; head -c 20 >/dev/null; printf '\0\040answer'; exec sleep 100`,
	} {
		t.Run(name, func(t *testing.T) {
			starts := t.TempDir() + "/starts"
			var said []int
			var why error
			ws := newWorkers([]string{"/bin/sh", "-c", command, starts}, 1, func(err error, n int) { said, why = append(said, n), err })
			if command == "" {
				ws.command = []string{starts}
			}
			defer ws.close()
			ws.patience = slow
			if name == "mute" {
				ws.patience = 300 * time.Millisecond
			}
			password, p := testTask()
			begin := time.Now()
			for range 5 {
				if hash, err := ws.derive(t.Context(), password, p); err != nil || !bytes.Equal(hash, deriveArgon2id(password, p)) {
					t.Fatal(err)
				}
				if ws.pause.Before(begin.Add(startPause)) {
					t.Errorf("no pause, but one until %v", ws.pause)
				}
				ws.pause, ws.warned = ws.pause.Add(slow), ws.warned.Add(slow) // on a busy machine all this may take longer
			}
			if made, _ := os.ReadFile(starts); len(made) > 1 {
				t.Errorf("%d starts", len(made))
			}
			if ws.inline.Load() != 5 || len(said) != 1 || said[0] != 1 {
				t.Errorf("%d inline, warnings %v", ws.inline.Load(), said)
			}
			if name == "other version" && !errors.Is(why, errFrameVersion) {
				t.Errorf("warning of %v", why)
			}
			ws.warned, ws.pause = begin.Add(-warnPause), time.Time{}
			ws.command = workerCommand(t)
			ws.patience = 0
			if _, err := ws.derive(t.Context(), password, p); err != nil || len(said) != 2 || said[1] != 5 {
				t.Errorf("%v, warnings %v", err, said)
			}
			ws.pause, ws.patience = time.Time{}, slow
			if _, err := ws.derive(t.Context(), password, p); err != nil || ws.inline.Load() != 6 {
				t.Errorf("none after the pause: %v, %d inline", err, ws.inline.Load())
			}
		})
	}
}

// Each end refuses frames of another version, and those from before there was one; the worker shows its own first.
func TestFrameVersion(t *testing.T) {
	password, p := testTask()
	var frame bytes.Buffer
	if err := writeFrame(&frame, appendTask(nil, password, p)); err != nil {
		t.Fatal(err)
	}
	other := bytes.Clone(frame.Bytes())
	other[0]++
	for name, b := range map[string][]byte{"other": other, "none": frame.Bytes()[1:]} {
		var out bytes.Buffer
		if err := serveTasks(bytes.NewReader(b), &out); !errors.Is(err, errFrameVersion) {
			t.Errorf("%s: %v", name, err)
		}
		if out.Len() == 0 || out.Bytes()[0] != frameVersion {
			t.Errorf("%s: answer %x", name, out.Bytes())
		}
	}
}
