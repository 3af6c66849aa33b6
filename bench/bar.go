package main

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// bar shows how far something is: on a terminal a line that is painted over, elsewhere a line now and then.
type bar struct {
	app      *app
	what     string
	total    int
	terminal bool
	began    time.Time
	shown    time.Time
	next     int
}

const (
	barWidth = 30
	barPause = 100 * time.Millisecond
)

func newBar(a *app, what string, total int) *bar {
	b := &bar{app: a, what: what, total: total}
	if file, ok := a.stderr.(*os.File); ok {
		info, err := file.Stat()
		b.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return b
}

// set says that so much is done. It is called by one goroutine at a time.
func (b *bar) set(done int) {
	now := time.Now()
	if b.began.IsZero() {
		b.began = now
	}
	line := b.line(done, now.Sub(b.began))
	switch {
	case !b.terminal && (done >= b.next || done == b.total):
		b.next = done + b.total/fillReports
		b.app.progressf("%s", line)
	case b.terminal && (done == b.total || now.Sub(b.shown) >= barPause):
		b.shown = now
		end := ""
		if done == b.total {
			end = "\n"
			b.began = time.Time{} // it may be filled again
		}
		fmt.Fprintf(b.app.stderr, "\r\033[K%s%s", line, end) //nolint:errcheck // progress only
	}
}

func (b *bar) line(done int, took time.Duration) string {
	part := min(1, float64(done)/float64(max(1, b.total)))
	full := int(part * barWidth)
	line := fmt.Sprintf("[%s%s] %3.0f %% %s of %s %s", strings.Repeat("#", full), strings.Repeat(".", barWidth-full), 100*part,
		thousands(float64(done)), thousands(float64(b.total)), b.what)
	if rate := float64(done) / took.Seconds(); took > 0 && done < b.total {
		line += fmt.Sprintf(", %s a second, %v left", thousands(rate), time.Duration(float64(b.total-done)/rate*float64(time.Second)).Round(time.Second))
	}
	return line
}
