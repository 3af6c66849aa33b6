package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a server that was started here. Its output goes to a file in its directory.
type process struct {
	name string
	cmd  *exec.Cmd
	log  string        // path
	done chan struct{} // closed when it has ended
	err  error         // how; read after done
}

// startProcess starts argv in dir. Variables in env are added to this process's own.
func startProcess(dir, name string, env []string, argv ...string) (*process, error) {
	p := &process{name: name, log: filepath.Join(dir, name+".log"), done: make(chan struct{})}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open log of %s: %w", name, err)
	}
	p.cmd = exec.Command(argv[0], argv[1:]...)
	p.cmd.Dir = dir
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = childAttr()
	err = p.cmd.Start()
	closeErr := log.Close() // the child has its own
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	if closeErr != nil {
		return p, fmt.Errorf("close log of %s: %w", name, closeErr)
	}
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// stop asks the process to end and waits; one that does not is killed, which is an error.
func (p *process) stop() error {
	if p.ended() {
		return nil
	}
	if err := p.signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-p.done:
		return nil
	case <-time.After(stopTimeout):
		return errors.Join(fmt.Errorf("%s did not stop within %v", p.name, stopTimeout), p.kill())
	}
}

// kill ends the process with SIGKILL and returns when it is gone.
func (p *process) kill() error {
	if err := p.signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-p.done
	return nil
}

func (p *process) signal(s os.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %s: %w", p.name, err)
	}
	return nil
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// waitReady calls probe until it returns nil, the process ends or startTimeout is over.
func (p *process) waitReady(ctx context.Context, probe func(context.Context) error) error {
	return p.waitFor(ctx, startTimeout, probe)
}

// waitFor is waitReady with another time limit.
func (p *process) waitFor(ctx context.Context, limit time.Duration, probe func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	ticker := time.NewTicker(probePause)
	defer ticker.Stop()
	for {
		err := probe(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ticker.C:
		case <-p.done:
			return fmt.Errorf("%s ended at once: %w: %s", p.name, p.endedWith(), p.logTail())
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %w; its log: %s", p.name, err, p.logTail())
		}
	}
}

// endedWith returns how the process ended, which it has done.
func (p *process) endedWith() error {
	if p.err == nil {
		return errors.New("exit status 0")
	}
	return p.err
}

// logTail returns the end of the process's output, for error messages.
func (p *process) logTail() string {
	f, err := os.Open(p.log)
	if err != nil {
		return err.Error()
	}
	defer f.Close() //nolint:errcheck // only read
	if size, err := f.Seek(0, io.SeekEnd); err == nil {
		if _, err := f.Seek(max(0, size-maxLogTail), io.SeekStart); err != nil {
			return err.Error()
		}
	}
	text, err := io.ReadAll(f)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(text))
}

// stopAll stops all of them, nil ones passed over, at the same time.
func stopAll(processes []*process) error {
	results := make(chan error, len(processes))
	for _, p := range processes {
		if p == nil {
			results <- nil
			continue
		}
		go func() { results <- p.stop() }()
	}
	var errs []error
	for range processes {
		errs = append(errs, <-results)
	}
	return errors.Join(errs...)
}

func pidsOf(processes []*process) []int {
	var pids []int
	for _, p := range processes {
		if p != nil && !p.ended() {
			pids = append(pids, p.pid())
		}
	}
	return pids
}

// clockTicks is the unit of the times in /proc: the kernel reports to programs in hundredths of a second always.
const clockTicks = 100

// CPUTime returns the user and system time that the processes have used, and false where the system does not tell.
func CPUTime(pids []int) (time.Duration, bool) {
	var ticks int64
	for _, pid := range pids {
		stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
		if err != nil {
			return 0, false
		}
		used, err := parseStat(string(stat))
		if err != nil {
			return 0, false
		}
		ticks += used
	}
	return time.Duration(ticks) * (time.Second / clockTicks), len(pids) > 0
}

// parseStat returns utime + stime of a line of /proc/PID/stat (proc(5), fields 14 and 15). The second field is a name
// in parentheses that may hold spaces and parentheses itself.
func parseStat(line string) (int64, error) {
	end := strings.LastIndexByte(line, ')')
	if end < 0 {
		return 0, errors.New("no name in stat line")
	}
	fields := strings.Fields(line[end+1:]) // from field 3 on
	if len(fields) < 13 {
		return 0, errors.New("stat line is too short")
	}
	user, err := strconv.ParseInt(fields[11], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("user time: %w", err)
	}
	system, err := strconv.ParseInt(fields[12], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("system time: %w", err)
	}
	return user + system, nil
}

// Resident returns how many bytes of a process are in memory, and false where the system does not tell.
func Resident(pid int) (int64, bool) {
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return 0, false
	}
	bytes, err := parseResident(string(status))
	return bytes, err == nil
}

// parseResident reads the line VmRSS of /proc/PID/status (proc(5)), which is in KiB.
func parseResident(status string) (int64, error) {
	for line := range strings.Lines(status) {
		if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("resident memory: %w", err)
			}
			return kib << 10, nil
		}
	}
	return 0, errors.New("no resident memory in status")
}
