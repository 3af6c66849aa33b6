package consensus

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"cloakroom/cluster/session"
	"cloakroom/cluster/storage"
)

// BenchmarkRestore reads a snapshot from a file, as a node does that starts: what it takes of time and of processors. With
// CLOAKROOM_SNAPSHOTS, a directory, the files are kept there, and made only where there are none.
func BenchmarkRestore(b *testing.B) {
	for _, n := range []int{1_000_000, 10_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			if testing.Short() {
				b.Skip("takes long")
			}
			name := snapshotFile(b, n)
			for b.Loop() {
				begun, used := time.Now(), processorTime(b)
				file, err := os.Open(name)
				if err != nil {
					b.Fatal(err)
				}
				source, err := storage.OpenStream(file, nil, nil) // as a store opens it
				if err != nil {
					b.Fatal(err)
				}
				m, err := readSnapshot(source)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(time.Since(begun).Seconds(), "s")
				b.ReportMetric((processorTime(b) - used).Seconds(), "cpu-s")
				if got := m.Stats().Sessions; got != n {
					b.Fatalf("%d sessions", got)
				}
				_ = file.Close()
				m = nil
				debug.FreeOSMemory()
			}
		})
	}
}

// snapshotFile returns the name of a snapshot of n sessions with seven short fields, ten a user.
func snapshotFile(b *testing.B, n int) string {
	dir := os.Getenv("CLOAKROOM_SNAPSHOTS")
	if dir == "" {
		dir = b.TempDir()
	}
	name := filepath.Join(dir, fmt.Sprint("sessions-", n))
	if _, err := os.Stat(name); err == nil {
		return name
	}
	file, err := os.Create(name)
	if err != nil {
		b.Fatal(err)
	}
	m := crowd(b, n)
	if err := writeSnapshot(file, m.Snapshot(nil)); err != nil {
		b.Fatal(err)
	}
	if err := file.Close(); err != nil {
		b.Fatal(err)
	}
	runtime.KeepAlive(m)
	m = nil
	debug.FreeOSMemory()
	return name
}

// crowd is a machine with n sessions, made within an hour.
func crowd(b testing.TB, n int) *session.Machine {
	m := session.New()
	m.Apply(1, &session.Entry{Stamp: 1_800_000_000_000, Commands: []session.Command{
		&session.Genesis{ClusterID: "c", RealmID: "r", AdminID: "a", ServiceID: "s"},
		&session.CreateRealm{ID: "e1", Name: "corp", Type: "ldap", Enabled: true},
	}})
	realm, _ := m.RealmByName("corp")
	for i := 0; i < n; {
		e := &session.Entry{Stamp: m.Clock().Add(time.Hour / time.Duration(n/1000))}
		for ; i < n && len(e.Commands) < 1000; i++ {
			e.Commands = append(e.Commands, &session.Create{
				Key: session.KeyOf(binary.BigEndian.AppendUint64(nil, uint64(i))), Realm: "corp",
				Username: fmt.Sprint("user", i*7919%n/10), RealmRev: realm.Rev, Surface: session.SurfaceFusion,
				Address: fmt.Sprint("192.0.2.", i%256), Agent: "Mozilla/5.0", Idle: 2 * time.Hour, Lifetime: 8 * time.Hour,
				Attrs: []session.Attr{{Key: "basket", Value: fmt.Sprint(i % 100)}, {Key: "lang", Value: "en"}, {Key: "theme", Value: "dark"}, {Key: "step", Value: "checkout"}},
			})
		}
		for _, r := range m.Apply(m.Applied()+1, e) {
			if r.Err != nil {
				b.Fatal(r.Err)
			}
		}
	}
	return m
}

// processorTime returns the user and system time of this process.
func processorTime(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
