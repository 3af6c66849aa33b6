package gossip

import (
	"bytes"
	"log"
	"log/slog"
	"strings"
	"testing"
	"time"

	"cloakroom/cluster/clustertest"
)

func logTo(buf *bytes.Buffer, level slog.Level) *log.Logger {
	h := slog.NewTextHandler(buf, &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})
	return log.New(&logWriter{logger: slog.New(h)}, "", 0)
}

func TestLogLevels(t *testing.T) {
	var buf bytes.Buffer
	l := logTo(&buf, slog.LevelDebug)
	l.Printf("[DEBUG] memberlist: one")
	l.Printf("[INFO] memberlist: two")
	l.Printf("[WARN] memberlist: three")
	l.Printf("[ERR] memberlist: four")
	l.Printf("Err: five")
	l.Printf("[INFO] %s", strings.Repeat("x", 2*maxLogLine))
	want := "level=DEBUG msg=one\nlevel=INFO msg=two\nlevel=WARN msg=three\nlevel=WARN msg=four\nlevel=INFO msg=\"Err: five\"\n" +
		"level=INFO msg=" + strings.Repeat("x", maxLogLine) + "…\n"
	if buf.String() != want {
		t.Errorf("got\n%s\nwant\n%s", buf.String(), want)
	}
	buf.Reset()
	logTo(&buf, slog.LevelWarn).Printf("[INFO] memberlist: quiet")
	if buf.Len() > 0 {
		t.Error(buf.String())
	}
}

func TestLogIsThrottled(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		var buf bytes.Buffer
		l := logTo(&buf, slog.LevelInfo)
		for range logLines + 7 {
			l.Printf("[ERR] memberlist: noise")
			l.Printf("[DEBUG] memberlist: does not count")
		}
		if got := strings.Count(buf.String(), "noise"); got != logLines {
			t.Errorf("%d lines", got)
		}
		buf.Reset()
		time.Sleep(logWindow)
		l.Printf("[ERR] memberlist: again")
		if want := "level=WARN msg=\"dropped lines of memberlist\" lines=7\nlevel=WARN msg=again\n"; buf.String() != want {
			t.Errorf("got %s", buf.String())
		}
	})
}
