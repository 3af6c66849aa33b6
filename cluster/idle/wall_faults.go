//go:build faults

package idle

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"time"
)

// wallFile is the variable that names a file with what is to be added to the wall clock, a duration as Go writes it. The
// file is read each time, so that the clock of a running node can be set; it is best replaced by renaming. Without the
// variable, the file, or anything in it, nothing is added.
const wallFile = "CLOAKROOM_FAULT_WALL"

// wallOf returns what this machine's wall clock shows at a moment, with the fault that is asked for.
func wallOf(now time.Time) time.Time { return now.Round(0).Add(wallFault()) }

// wallFault stops a program that can't inject the fault: a test would show nothing.
func wallFault() time.Duration {
	path := os.Getenv(wallFile)
	if path == "" {
		return 0
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0
	}
	if err != nil {
		panic("BUG: fault for the wall clock not read: " + err.Error())
	}
	word := strings.TrimSpace(string(text))
	if word == "" {
		return 0
	}
	fault, err := time.ParseDuration(word)
	if err != nil {
		panic("BUG: fault for the wall clock not understood: " + err.Error())
	}
	return fault
}
