package session

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mapMemory takes zeroed memory from the system that the garbage collector knows nothing of. In huge pages, an access at
// random costs one cache miss and not two: the processor knows where each of them is.
func mapMemory(size int, huge bool) []byte {
	b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		panic(fmt.Sprintf("out of memory: %d bytes for sessions: %v", size, err)) // as the runtime does
	}
	if huge {
		_ = unix.Madvise(b, unix.MADV_HUGEPAGE) // advice: a system without huge pages goes on with small ones
	}
	return b
}

func unmapMemory(b []byte) {
	if err := unix.Munmap(b); err != nil {
		panic(fmt.Sprintf("BUG: unmap %d bytes: %v", len(b), err))
	}
}

// adviseHuge asks for huge pages for what lies in whole ones of memory that is the collector's.
func adviseHuge(b []byte) {
	const huge = 2 << 20
	from := -uintptr(unsafe.Pointer(unsafe.SliceData(b))) % huge
	if to := (len(b) - int(from)) &^ (huge - 1); to > 0 {
		_ = unix.Madvise(b[from:int(from)+to], unix.MADV_HUGEPAGE) // advice
	}
}

// discardMemory gives the pages back, not the addresses: what is there is zero from now on.
func discardMemory(b []byte) {
	if err := unix.Madvise(b, unix.MADV_DONTNEED); err != nil {
		panic(fmt.Sprintf("BUG: give back %d bytes: %v", len(b), err))
	}
}
