package consensus

import (
	"errors"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/raft"

	"cloakroom/cluster/storage"
)

// badDisk stands before the stores of a node. It fails and stalls as it is told.
type badDisk struct {
	mu     sync.Mutex
	faults map[diskPart]diskFault
}

// diskPart is what is written.
type diskPart int

const (
	logPart diskPart = iota
	stablePart
	snapshotPart
)

// diskFault is what befalls the writes to a part: all of them, or some if after or times says so.
type diskFault struct {
	err   error
	stall time.Duration
	after int // writes that are well before
	times int // writes that are not, then; 0: all
}

// full is what the system says of a full disk.
var full = &os.PathError{Op: "write", Path: logFile, Err: syscall.ENOSPC}

func (d *badDisk) breaks(fault diskFault, parts ...diskPart) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults = map[diskPart]diskFault{}
	for _, part := range parts {
		d.faults[part] = fault
	}
}

func (d *badDisk) isRepaired() { d.breaks(diskFault{}) }

// write returns what becomes of one write.
func (d *badDisk) write(part diskPart) error {
	d.mu.Lock()
	fault, bad := d.faults[part]
	switch {
	case !bad:
	case fault.after > 0:
		fault.after--
		d.faults[part] = fault
		bad = false
	case fault.times == 1:
		delete(d.faults, part)
	case fault.times > 1:
		fault.times--
		d.faults[part] = fault
	}
	d.mu.Unlock()
	if !bad {
		return nil
	}
	time.Sleep(fault.stall) // fake
	return fault.err
}

func (d *badDisk) before(s *storage.Stores) *storage.Stores {
	return &storage.Stores{Log: badLog{s.Log, d}, Stable: badStable{s.Stable, d}, Snapshots: badSnapshots{s.Snapshots, d}}
}

type badLog struct {
	raft.LogStore
	disk *badDisk
}

func (s badLog) StoreLogs(logs []*raft.Log) error {
	if err := s.disk.write(logPart); err != nil {
		return err
	}
	return s.LogStore.StoreLogs(logs)
}

func (s badLog) DeleteRange(first, last uint64) error {
	if err := s.disk.write(logPart); err != nil {
		return err
	}
	return s.LogStore.DeleteRange(first, last)
}

type badStable struct {
	raft.StableStore
	disk *badDisk
}

func (s badStable) Set(key, value []byte) error {
	if err := s.disk.write(stablePart); err != nil {
		return err
	}
	return s.StableStore.Set(key, value)
}

func (s badStable) SetUint64(key []byte, value uint64) error {
	if err := s.disk.write(stablePart); err != nil {
		return err
	}
	return s.StableStore.SetUint64(key, value)
}

type badSnapshots struct {
	raft.SnapshotStore
	disk *badDisk
}

func (s badSnapshots) Create(version raft.SnapshotVersion, index, term uint64, configuration raft.Configuration,
	configurationIndex uint64, transport raft.Transport,
) (raft.SnapshotSink, error) {
	if err := s.disk.write(snapshotPart); err != nil {
		return nil, err
	}
	sink, err := s.SnapshotStore.Create(version, index, term, configuration, configurationIndex, transport)
	return badSink{sink, s.disk}, err
}

type badSink struct {
	raft.SnapshotSink
	disk *badDisk
}

func (s badSink) Write(b []byte) (int, error) {
	if err := s.disk.write(snapshotPart); err != nil {
		return 0, err
	}
	return s.SnapshotSink.Write(b)
}

func (s badSink) Close() error {
	if err := s.disk.write(snapshotPart); err != nil {
		return errors.Join(err, s.Cancel())
	}
	return s.SnapshotSink.Close()
}
