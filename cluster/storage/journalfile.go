package storage

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// A file of the journal is made of blocks. The first is its head:
//
//	mark, 8 bytes | epoch, 8 | salt, 8 | sum of these and of nothing else, 4
//
// Each record begins with the block behind the last one:
//
//	mark, 4 bytes | entries, 4 | bytes behind these 32, 4 | sum, 4 | epoch, 8 | number, 8 | entries
//
// Numbers are little endian, sums CRC-32C; that of a record is of the salt and of all of the record but the sum. An entry is index, term,
// time in nanoseconds or 0, length of extensions and of data as uvarints, its type in a byte behind the term, and then
// extensions and data.
//
// What lies in a file from before it was emptied last has another epoch. Records are numbered from 0 and never share a
// block, so that a write that is cut short damages none before it; and each is on the disk before the next is begun. So a
// record that can't be read is one that was cut short, and was acknowledged to nobody, unless a good one follows. A last
// record that a disk has spoilt later looks the same: against that, there are the other nodes' disks.
const (
	journalBlock = 4096
	journalHead  = 28
	recordHead   = 32
	recordMark   = 0x6a72_6331
)

var (
	journalMark = []byte("cloakjr1")
	castagnoli  = crc32.MakeTable(crc32.Castagnoli)
)

// journalFile is one of the two files of the journal.
type journalFile struct {
	f       *os.File
	epoch   uint64
	salt    [8]byte
	end     int64         // where the next record begins
	next    uint64        // its number
	entries int           // in all records
	first   atomic.Uint64 // index of the first of them; 0: it is empty
	used    bool          // there are blocks behind the head, of whatever epoch
	room    []byte        // of the last record, used again
}

// openJournalFile opens a file of the journal and changes nothing. It is nil if there is none, or none that was ready
// before a crash.
func openJournalFile(path string) (*journalFile, error) {
	f, err := os.OpenFile(path, os.O_RDWR, fileMode)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	j := &journalFile{f: f, end: journalBlock}
	ready, err := j.readHead()
	if err != nil || !ready {
		return nil, errors.Join(err, f.Close())
	}
	return j, nil
}

func (j *journalFile) readHead() (ready bool, err error) {
	info, err := j.f.Stat()
	if err != nil {
		return false, fmt.Errorf("open journal: %w", err)
	}
	var head [journalHead]byte
	if _, err := j.f.ReadAt(head[:], 0); err != nil && !errors.Is(err, io.EOF) {
		return false, fmt.Errorf("open journal: %w", err)
	}
	good := bytes.HasPrefix(head[:], journalMark) && binary.LittleEndian.Uint32(head[24:]) == crc32.Checksum(head[:24], castagnoli)
	switch {
	case good:
		j.epoch = binary.LittleEndian.Uint64(head[8:])
		copy(j.salt[:], head[16:])
		return true, nil
	case info.Size() <= journalBlock:
		return false, nil // a crash while it was made: there was no record yet
	}
	return false, fmt.Errorf("head of journal %s is unreadable: %w", j.f.Name(), ErrDamaged)
}

// makeJournalFile makes an empty file of the journal. Its name lasts when its directory is synced.
func makeJournalFile(path string, epoch uint64) (*journalFile, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, fileMode)
	if err != nil {
		return nil, Failed("make journal", err)
	}
	j := &journalFile{f: f}
	if err := j.empty(epoch, 0); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return j, nil
}

// empty gives up what is in the file, and all blocks above the size that is kept. Those kept need not be found anew.
func (j *journalFile) empty(epoch uint64, keep int64) error {
	block := make([]byte, journalBlock)
	copy(block, journalMark)
	binary.LittleEndian.PutUint64(block[8:], epoch)
	if _, err := rand.Read(block[16:24]); err != nil {
		return fmt.Errorf("empty journal: %w", err)
	}
	binary.LittleEndian.PutUint32(block[24:], crc32.Checksum(block[:24], castagnoli))
	if _, err := j.f.WriteAt(block, 0); err != nil {
		return Failed("empty journal", err)
	}
	if size := max(keep, journalBlock); j.end > size || keep == 0 {
		if err := j.f.Truncate(size); err != nil {
			return Failed("empty journal", err)
		}
	}
	if err := datasync(j.f); err != nil {
		return Failed("empty journal", err)
	}
	j.epoch, j.end, j.next, j.entries, j.used = epoch, journalBlock, 0, 0, keep > 0
	copy(j.salt[:], block[16:24])
	j.first.Store(0) // from now on the database may be changed
	return nil
}

// append returns when the entries are on the disk as one record. After an error the file must not be written to.
func (j *journalFile) append(logs []*raft.Log) error {
	b := append(j.room[:0], make([]byte, recordHead)...)
	for _, l := range logs {
		b = appendEntry(b, l)
	}
	size := len(b) - recordHead
	if int64(size) > int64(^uint32(0)) {
		return fmt.Errorf("write journal: %d bytes in one record", size)
	}
	binary.LittleEndian.PutUint32(b, recordMark)
	binary.LittleEndian.PutUint32(b[4:], uint32(len(logs)))
	binary.LittleEndian.PutUint32(b[8:], uint32(size))
	binary.LittleEndian.PutUint64(b[16:], j.epoch)
	binary.LittleEndian.PutUint64(b[24:], j.next)
	binary.LittleEndian.PutUint32(b[12:], j.sum(b))
	if over := len(b) % journalBlock; over > 0 {
		b = append(b, make([]byte, journalBlock-over)...)
	}
	j.used = true
	if _, err := j.f.WriteAt(b, j.end); err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	if err := datasync(j.f); err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	j.wrote(logs[0].Index, len(logs), int64(len(b)))
	if cap(b) <= maxJournalRoom {
		j.room = b
	}
	return nil
}

// wrote counts a record.
func (j *journalFile) wrote(index uint64, entries int, size int64) {
	j.first.CompareAndSwap(0, index)
	j.end += size
	j.next++
	j.entries += entries
}

func (j *journalFile) sum(record []byte) uint32 {
	sum := crc32.Checksum(j.salt[:], castagnoli)
	sum = crc32.Update(sum, castagnoli, record[:12])
	return crc32.Update(sum, castagnoli, record[16:])
}

func appendEntry(b []byte, l *raft.Log) []byte {
	var at int64
	if !l.AppendedAt.IsZero() {
		at = l.AppendedAt.UnixNano()
	}
	b = binary.AppendUvarint(b, l.Index)
	b = binary.AppendUvarint(b, l.Term)
	b = append(b, byte(l.Type))
	b = binary.AppendVarint(b, at)
	b = binary.AppendUvarint(b, uint64(len(l.Extensions)))
	b = binary.AppendUvarint(b, uint64(len(l.Data)))
	b = append(b, l.Extensions...)
	return append(b, l.Data...)
}

// read gives the entries of each record to take. It leaves the file as it is, and j so that it can only be emptied.
func (j *journalFile) read(take func([]raft.Log) error) error {
	info, err := j.f.Stat()
	if err != nil {
		return fmt.Errorf("read journal: %w", err)
	}
	size := info.Size()
	j.used = size > journalBlock
	for {
		record, err := j.record(j.end, size, j.next)
		if err != nil {
			return err
		}
		if record == nil {
			break
		}
		logs, err := decodeEntries(record[recordHead:], binary.LittleEndian.Uint32(record[4:]))
		if err != nil {
			return fmt.Errorf("record %d of journal %s: %w", j.next, j.f.Name(), err)
		}
		if err := take(logs); err != nil {
			return err
		}
		j.wrote(logs[0].Index, len(logs), (int64(len(record))+journalBlock-1)/journalBlock*journalBlock)
	}
	for at := j.end + journalBlock; at < size; at += journalBlock {
		later, err := j.record(at, size, 0)
		if err != nil {
			return err
		}
		if later != nil && binary.LittleEndian.Uint64(later[24:]) > j.next {
			return fmt.Errorf("record %d of journal %s is unreadable, and later ones are not: %w", j.next, j.f.Name(), ErrDamaged)
		}
	}
	return nil
}

// record returns the record at a place, nil if there is none of this epoch that is whole. Number 0 stands for any.
func (j *journalFile) record(at, size int64, number uint64) ([]byte, error) {
	var head [recordHead]byte
	if at+recordHead > size {
		return nil, nil
	}
	if _, err := j.f.ReadAt(head[:], at); err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	length := int64(binary.LittleEndian.Uint32(head[8:]))
	switch {
	case binary.LittleEndian.Uint32(head[:]) != recordMark, binary.LittleEndian.Uint64(head[16:]) != j.epoch,
		number > 0 && binary.LittleEndian.Uint64(head[24:]) != number, at+recordHead+length > size:
		return nil, nil
	}
	record := make([]byte, recordHead+length)
	if _, err := j.f.ReadAt(record, at); err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	if binary.LittleEndian.Uint32(record[12:]) != j.sum(record) {
		return nil, nil
	}
	return record, nil
}

// decodeEntries reads what appendEntry has written; the sum was good. The entries are parts of b.
func decodeEntries(b []byte, count uint32) ([]raft.Log, error) {
	var logs []raft.Log
	bad := count == 0
	uvarint := func() uint64 {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			bad = true
			return 0
		}
		b = b[n:]
		return v
	}
	part := func(size uint64) []byte {
		if bad = bad || size > uint64(len(b)); bad || size == 0 {
			return nil
		}
		p := b[:size:size]
		b = b[size:]
		return p
	}
	for range count {
		l := raft.Log{Index: uvarint(), Term: uvarint()}
		if kind := part(1); kind != nil {
			l.Type = raft.LogType(kind[0])
		}
		at, n := binary.Varint(b)
		if n <= 0 || bad {
			return nil, ErrDamaged
		}
		b = b[n:]
		if at != 0 {
			l.AppendedAt = time.Unix(0, at).UTC()
		}
		extensions, data := uvarint(), uvarint()
		l.Extensions, l.Data = part(extensions), part(data)
		if bad {
			return nil, ErrDamaged
		}
		logs = append(logs, l)
	}
	if bad || len(b) > 0 {
		return nil, ErrDamaged
	}
	return logs, nil
}
