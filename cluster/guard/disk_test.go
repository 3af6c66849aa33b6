package guard

import (
	"errors"
	"io/fs"
	"log/slog"
	"math"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cloakroom/cluster/clustertest"
)

const mib = 1 << 20

// fakeDisk is a file system whose numbers a test sets.
type fakeDisk struct {
	mu    sync.Mutex
	space Space
	err   error
	looks int
}

func (d *fakeDisk) probe(string) (Space, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.looks++
	return d.space, d.err
}

func (d *fakeDisk) set(change func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change()
}

func TestDisk(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		disk := &fakeDisk{space: Space{Free: 500 * mib, Total: 1000 * mib}}
		said := new(diary)
		d, err := OpenDisk(DiskConfig{Path: "data", Reserve: 100 * mib, Logger: slog.New(said), Probe: disk.probe})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		for _, step := range []struct {
			when  string
			free  int64
			low   bool
			level slog.Level
			said  map[string]int64
		}{
			{when: "much room", free: 500 * mib},
			{when: "the reserve exactly", free: 100 * mib},
			{"a byte less", 100*mib - 1, true, slog.LevelWarn, map[string]int64{"free_bytes": 100*mib - 1, "reserve_bytes": 100 * mib, "total_bytes": 1000 * mib}},
			{when: "less still", free: 1, low: true},
			{when: "full", free: 0, low: true},
			{when: "the reserve again", free: 100 * mib, low: true},
			{when: "not quite a quarter more", free: 125*mib - 1, low: true},
			{"a quarter more", 125 * mib, false, slog.LevelInfo, map[string]int64{"free_bytes": 125 * mib, "reserve_bytes": 100 * mib}},
			{when: "the reserve on the way down", free: 100 * mib},
			{"low again", 99 * mib, true, slog.LevelWarn, map[string]int64{"free_bytes": 99 * mib}},
		} {
			disk.set(func() { disk.space.Free = step.free })
			time.Sleep(CheckInterval)
			synctest.Wait()
			if got := d.Low(); got != step.low {
				t.Errorf("%s: low %t, want %t", step.when, got, step.low)
			}
			if got, want := d.Stats(), (DiskStats{Free: step.free, Total: 1000 * mib, Reserve: 100 * mib, Low: step.low}); got != want {
				t.Errorf("%s: stats %+v, want %+v", step.when, got, want)
			}
			said.expect(t, step.when, step.level, step.said)
		}
	})
}

// A node that starts on a full disk knows it before it has answered anybody.
func TestDiskIsReadAtTheStart(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		disk := &fakeDisk{space: Space{Free: 1, Total: 1000 * mib}}
		said := new(diary)
		d, err := OpenDisk(DiskConfig{Path: "data", Logger: slog.New(said), Probe: disk.probe})
		if err != nil {
			t.Fatal(err)
		}
		if !d.Low() {
			t.Error("not low")
		}
		said.expect(t, "at the start", slog.LevelWarn, map[string]int64{"free_bytes": 1, "reserve_bytes": 50 * mib})
		d.Close()
		looks := disk.looks
		time.Sleep(10 * CheckInterval)
		if disk.looks != looks {
			t.Error("it goes on after Close")
		}
	})
}

// Close waits for a reading that is under way.
func TestDiskCloseWaits(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		hold := make(chan struct{}, 1)
		hold <- struct{}{} // for the reading at the start
		d, err := OpenDisk(DiskConfig{Path: "data", Logger: slog.New(slog.DiscardHandler), Probe: func(string) (Space, error) {
			<-hold
			return Space{Free: 1, Total: 1}, nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(CheckInterval + CheckInterval/2)
		closed := make(chan struct{})
		go func() {
			d.Close()
			close(closed)
		}()
		synctest.Wait()
		select {
		case <-closed:
			t.Error("closed while a reading was under way")
		default:
		}
		close(hold)
		<-closed
	})
}

// A disk that can't be read keeps its state, and says so once.
func TestDiskGoesBlind(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		disk := &fakeDisk{space: Space{Free: 1, Total: 1000 * mib}}
		said := new(diary)
		d, err := OpenDisk(DiskConfig{Path: "data", Logger: slog.New(said), Probe: disk.probe})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		said.take()
		disk.set(func() {
			disk.space, disk.err = Space{Free: 900 * mib, Total: 1000 * mib}, errors.New("input/output error")
		})
		time.Sleep(10*CheckInterval + CheckInterval/2)
		said.expect(t, "blind", slog.LevelWarn, map[string]int64{})
		if !d.Low() {
			t.Error("a disk that can't be read is not low any more")
		}
		disk.set(func() { disk.err = nil })
		time.Sleep(CheckInterval)
		if got := said.take(); len(got) != 2 || got[0].level != slog.LevelInfo || got[1].level != slog.LevelInfo || d.Low() {
			t.Errorf("seeing again: said %+v, low %t", got, d.Low())
		}
	})
}

// A file system that was enlarged has a larger reserve.
func TestDiskGrows(t *testing.T) {
	clustertest.Bubble(t, func(t *testing.T) {
		disk := &fakeDisk{space: Space{Free: 400 * mib, Total: 1000 * mib}}
		d, err := OpenDisk(DiskConfig{Path: "data", Logger: slog.New(slog.DiscardHandler), Probe: disk.probe})
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		disk.set(func() { disk.space.Total = 3000 * mib })
		time.Sleep(CheckInterval + CheckInterval/2)
		if got := d.Stats().Reserve; got != 150*mib {
			t.Errorf("reserve %d, want %d", got, 150*mib)
		}
	})
}

func TestDiskWithoutAnswer(t *testing.T) {
	logger := slog.New(slog.DiscardHandler)
	if _, err := OpenDisk(DiskConfig{Path: filepath.Join(t.TempDir(), "absent"), Logger: logger}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder that is not there: %v", err)
	}
	said := new(diary)
	disk := &fakeDisk{err: errors.ErrUnsupported}
	d, err := OpenDisk(DiskConfig{Path: "data", Logger: slog.New(said), Probe: disk.probe})
	if err != nil {
		t.Fatal(err)
	}
	said.expect(t, "a file system without numbers", slog.LevelWarn, map[string]int64{})
	if d.Low() {
		t.Error("a file system without numbers is low")
	}
	d.Close()
	if d, err = OpenDisk(DiskConfig{Logger: logger}); err != nil || d.Low() || d.Stats() != (DiskStats{}) {
		t.Errorf("a node without a disk: %+v, %v", d, err)
	}
	d.Close()
}

func TestDefaultReserve(t *testing.T) {
	for _, c := range []struct{ total, want int64 }{
		{16 * mib, 4 * mib},   // a quarter
		{64 * mib, 16 * mib},  // a quarter, and MinReserve
		{100 * mib, 16 * mib}, // MinReserve
		{320 * mib, 16 * mib}, // and a twentieth
		{1000 * mib, 50 * mib},
		{5120 * mib, MaxReserve},
		{1 << 40, MaxReserve},
		{math.MaxInt64, MaxReserve},
	} {
		if got := DefaultReserve(c.total); got != c.want {
			t.Errorf("%d MiB: %d, want %d", c.total/mib, got, c.want)
		}
	}
}

func TestSizeOf(t *testing.T) {
	for _, c := range []struct {
		blocks, unit uint64
		want         int64
	}{
		{3, 4096, 12288},
		{0, 4096, 0},
		{math.MaxUint64, 4096, math.MaxInt64},
		{1 << 52, 4096, math.MaxInt64}, // 2^64: no more than 0 in 64 bits
		{1 << 51, 4096, math.MaxInt64}, // 2^63: below 0 in 64 bits
	} {
		if got := sizeOf(c.blocks, c.unit); got != c.want {
			t.Errorf("%d x %d: %d, want %d", c.blocks, c.unit, got, c.want)
		}
	}
}

// The file system under this test, with reserves that it can't and that it must have.
func TestRealDisk(t *testing.T) {
	for _, c := range []struct {
		reserve int64
		low     bool
	}{{math.MaxInt64, true}, {1, false}, {-1, false}} {
		d, err := OpenDisk(DiskConfig{Path: t.TempDir(), Reserve: c.reserve, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		d.Close() // the readings below are the test's
		d.look()
		got := d.Stats()
		if d.Low() != c.low || got.Free <= 0 || got.Total < got.Free {
			t.Errorf("reserve %d: %+v, want low %t", c.reserve, got, c.low)
		}
	}
}
