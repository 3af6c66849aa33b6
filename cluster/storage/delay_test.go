package storage

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// The variable that makes a node's disk slow is known to builds tagged faults, and to no others.
func TestDiskDelayInTaggedBuildsOnly(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	code, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	// Put together at run time, so that the test itself does not hold it.
	name := strings.Join([]string{"CLOAKROOM", "FAULT", "DISK"}, "_")
	if got := bytes.Contains(code, []byte(name)); got != diskFaults {
		t.Errorf("the program holds %s: %v, want %v", name, got, diskFaults)
	}
}
