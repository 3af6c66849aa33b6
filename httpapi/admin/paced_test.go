package admin

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"cloakroom/cluster/clustertest"
)

// deadlined notes the deadline that a connection was given.
type deadlined struct {
	net.Conn
	until time.Time
}

func (d *deadlined) SetWriteDeadline(t time.Time) error {
	d.until = t
	return nil
}

// slowly takes its time for each write.
type slowly time.Duration

func (s slowly) Write(b []byte) (int, error) {
	time.Sleep(time.Duration(s))
	return len(b), nil
}

// The time that a client has for a backup goes with what it has taken, is not prolonged by taking a little, and does not
// run while this node is busy with something else.
func TestBackupIsPaced(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		conn := &deadlined{}
		p := &pacedWriter{w: slowly(500 * time.Millisecond), conn: conn}
		some := make([]byte, backupRate/2)
		for i := range 100 {
			now := time.Now()
			if _, err := p.Write(some); err != nil {
				t.Fatalf("write %d: %v", i, err)
			}
			if want := now.Add(backupGrace - time.Duration(i%2)*500*time.Millisecond); !conn.until.Equal(want) {
				t.Fatalf("write %d: deadline after %v, not %v", i, conn.until.Sub(now), want.Sub(now))
			}
			time.Sleep(time.Hour)
		}
		p.w = slowly(backupGrace / 3)
		for i := range 3 {
			if _, err := p.Write(some[:1]); err != nil || p.late() != (i == 2) {
				t.Errorf("slow write %d: %v, late: %v", i, err, p.late())
			}
		}
		if _, err := p.Write(some[:1]); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("too late: %v", err)
		}
	})
}
