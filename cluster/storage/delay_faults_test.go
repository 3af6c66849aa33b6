//go:build faults

package storage

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

const diskFaults = true

// delayBy writes the file that the variable names.
func delayBy(t *testing.T, text string) {
	t.Helper()
	path := os.Getenv(delayFile)
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// The delay is what the file says at the time, or none.
func TestDiskDelay(t *testing.T) {
	t.Setenv(delayFile, "")
	if got := diskDelay(); got != 0 {
		t.Errorf("delay without the variable: %v", got)
	}
	t.Setenv(delayFile, filepath.Join(t.TempDir(), "disk"))
	if got := diskDelay(); got != 0 {
		t.Errorf("delay without the file: %v", got)
	}
	for _, c := range []struct {
		text string
		want time.Duration
	}{{"80ms", 80 * time.Millisecond}, {"2s\n", 2 * time.Second}, {"0s", 0}, {"", 0}} {
		delayBy(t, c.text)
		if got := diskDelay(); got != c.want {
			t.Errorf("%q: %v", c.text, got)
		}
	}
	for _, text := range []string{"soon", "-1s"} {
		delayBy(t, text)
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%q is passed over", text)
				}
			}()
			diskDelay()
		}()
	}
}
