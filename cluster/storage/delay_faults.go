//go:build faults

package storage

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"time"
)

// delayFile is the variable that names a file with how much longer a write of entries, term or vote takes, a duration as
// Go writes it. The file is read at each write, so that the disk of a running node can be made slow and well again; it is
// best replaced by renaming. Without the variable, the file, or anything in it, writes take as long as they take.
const delayFile = "CLOAKROOM_FAULT_DISK"

// delayDisk is part of the write for who watches it: a delay above Watch.Limit ends the node, as a disk would.
func delayDisk() { time.Sleep(diskDelay()) }

// diskDelay stops a program that can't inject the fault: a test would show nothing.
func diskDelay() time.Duration {
	path := os.Getenv(delayFile)
	if path == "" {
		return 0
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0
	}
	if err != nil {
		panic("BUG: fault for the disk not read: " + err.Error())
	}
	word := strings.TrimSpace(string(text))
	if word == "" {
		return 0
	}
	delay, err := time.ParseDuration(word)
	if err != nil || delay < 0 {
		panic("BUG: fault for the disk not understood: " + word)
	}
	return delay
}
