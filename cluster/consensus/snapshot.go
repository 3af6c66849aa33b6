package consensus

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync/atomic"

	"github.com/hashicorp/raft"
	"github.com/klauspost/compress/zstd"

	"cloakroom/cluster/session"
)

// snapshotVersion is the first byte of a snapshot's file. Version 1: one zstd frame, checksummed, of the machine's own
// stream follows, and nothing after it.
const snapshotVersion = 1

// capture is a state that waits to be written.
type capture struct {
	snapshot *session.Snapshot
	written  *atomic.Uint64
}

var _ raft.FSMSnapshot = (*capture)(nil)

// Persist writes the state. The library closes the sink, or cancels it after an error.
func (c *capture) Persist(sink raft.SnapshotSink) error {
	if err := writeSnapshot(sink, c.snapshot); err != nil {
		return err
	}
	c.written.Add(1)
	return nil
}

// Release says that the snapshot is written, or never will be.
func (c *capture) Release() { c.snapshot.Release() }

func writeSnapshot(w io.Writer, s *session.Snapshot) error {
	if _, err := w.Write([]byte{snapshotVersion}); err != nil {
		return fmt.Errorf("write snapshot: %w", err)
	}
	// One goroutine, and the fastest level: lookups go on meanwhile, on as few as two processors.
	encoder, err := zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(snapshotWindow), zstd.WithEncoderCRC(true))
	if err != nil {
		return fmt.Errorf("compress snapshot: %w", err)
	}
	buffered := bufio.NewWriterSize(&yieldingWriter{w: encoder}, yieldEvery/4)
	_, err = s.WriteTo(buffered)
	if err = errors.Join(err, buffered.Flush(), encoder.Close()); err != nil {
		return fmt.Errorf("write snapshot: %w", err)
	}
	return nil
}

// yieldingWriter gives the processor away now and then, so that those who answer requests need not wait for the
// scheduler to take it.
type yieldingWriter struct {
	w     io.Writer
	count int
}

func (y *yieldingWriter) Write(b []byte) (int, error) {
	if y.count += len(b); y.count >= yieldEvery {
		y.count = 0
		runtime.Gosched()
	}
	return y.w.Write(b)
}

// readSnapshot builds a machine from what writeSnapshot wrote. Memory is bounded by maxWindow beside the machine.
func readSnapshot(r io.Reader) (*session.Machine, error) {
	var version [1]byte
	if _, err := io.ReadFull(r, version[:]); err != nil {
		return nil, fmt.Errorf("version: %w", err)
	}
	if version[0] != snapshotVersion {
		return nil, fmt.Errorf("version %d is not known here, start a newer program: %w", version[0], session.ErrUnknownKind)
	}
	decoder, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return nil, fmt.Errorf("decompress: %w", err)
	}
	defer decoder.Close()
	// It reads to the end, where the frame's checksum is compared, and refuses what follows.
	machine, err := session.Restore(decoder)
	if err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	return machine, nil
}
