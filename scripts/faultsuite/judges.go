//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"cloakroom/cluster/history"
)

// judges check histories beside the run, one after another: the machine is busy enough with it.
type judges struct {
	rules    history.Rules
	evidence string // folder for what goes with a violation
	queue    chan *history.Recorder
	group    sync.WaitGroup

	mu       sync.Mutex
	verdicts verdicts
	caughtAt time.Time
	first    chan struct{} // closed at the first violation
}

// verdicts is what the judges have found.
type verdicts struct {
	Histories  int // of one user each
	Operations int
	Largest    int           // operations of one user
	Slowest    time.Duration // search for one user's order
	Violations int
	Undecided  int
	Evidence   []string // files
	What       []string // of the violations that were written out
}

// rulesFor returns what is promised about an idle timeout: it is exact but for the error of cluster time and the way of a
// request, and where a node can't be asked, a session is accepted for as long as the replicated last use may lag.
func rulesFor(idle time.Duration) history.Rules {
	return history.Rules{
		Early: activeMargin,
		Late:  granularity(idle) + touchSlack + sleeperMargin,
		Limit: checkTimeout,
	}
}

// granularity is how far the replicated last use may lag behind the true one, as the program has it (cluster/session/pace.go)
// for a cluster that is not busy.
func granularity(idle time.Duration) time.Duration { return idle / 15 }

func newJudges(idle time.Duration, evidence string) *judges {
	return &judges{rules: rulesFor(idle), evidence: evidence, queue: make(chan *history.Recorder, maxCases), first: make(chan struct{})}
}

func (j *judges) open() { j.group.Go(j.run) }

// close waits until everything that was submitted is judged.
func (j *judges) close() verdicts {
	close(j.queue)
	j.group.Wait()
	return j.found()
}

// submit hands a recorder over whose operations are over.
func (j *judges) submit(r *history.Recorder) { j.queue <- r }

func (j *judges) found() verdicts {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.verdicts
}

func (j *judges) run() {
	for r := range j.queue {
		report := history.Check(r.History(), j.rules)
		j.mu.Lock()
		v := &j.verdicts
		v.Histories += report.Users
		v.Operations += report.Operations
		v.Largest = max(v.Largest, report.Largest)
		v.Slowest = max(v.Slowest, report.Slowest)
		v.Undecided += len(report.Undecided)
		if n := len(report.Violations) + report.More; n > 0 {
			if v.Violations == 0 {
				j.caughtAt = time.Now()
				close(j.first)
			}
			v.Violations += n
			for _, one := range report.Violations {
				j.keepLocked(one)
			}
		}
		j.mu.Unlock()
	}
}

// keepLocked writes a violation out, unless there are enough already.
func (j *judges) keepLocked(one history.Violation) {
	v := &j.verdicts
	if len(v.What) == violationsKept {
		return
	}
	v.What = append(v.What, fmt.Sprintf("user %s: %s", one.User, one.What))
	files, err := writeEvidence(j.evidence, len(v.What), one)
	v.Evidence = append(v.Evidence, files...)
	if err != nil {
		v.Evidence = append(v.Evidence, err.Error())
	}
}

// writeEvidence writes a violation as text and, where there is one, as a page that shows it.
func writeEvidence(dir string, number int, v history.Violation) (files []string, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("keep evidence: %w", err)
	}
	base := filepath.Join(dir, fmt.Sprintf("violation-%d", number))
	text := fmt.Sprintf("user %s: %s\n\n%s", v.User, v.What, v.Text)
	if err := os.WriteFile(base+".txt", []byte(text), 0o600); err != nil {
		return nil, fmt.Errorf("keep evidence: %w", err)
	}
	files = append(files, base+".txt")
	page, err := os.OpenFile(base+".html", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return files, fmt.Errorf("keep evidence: %w", err)
	}
	shown, err := v.Visualize(page)
	if closed := page.Close(); err == nil {
		err = closed
	}
	switch {
	case err != nil:
		return files, fmt.Errorf("keep evidence: %w", err)
	case !shown:
		return files, os.Remove(base + ".html")
	}
	return append(files, base+".html"), nil
}
