package guard

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
)

// availableMemory is what this process may take, in bytes: the machine's memory, or less if a control group says so.
// It is 0 with an error where the system does not say.
func availableMemory() (int64, error) { return availableIn(os.DirFS("/")) }

func availableIn(root fs.FS) (int64, error) {
	physical, err := physicalMemory(root)
	if err != nil {
		return 0, err
	}
	return min(physical, groupLimit(root)), nil
}

// physicalMemory reads MemTotal (proc_meminfo(5)). Where /proc is a container's own it may say less than the machine
// has, and rightly so.
func physicalMemory(root fs.FS) (int64, error) {
	const file = "proc/meminfo"
	data, err := fs.ReadFile(root, file)
	if err != nil {
		return 0, fmt.Errorf("read physical memory: %w", err)
	}
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if len(fields) != 3 || fields[0] != "MemTotal:" || fields[2] != "kB" {
			continue
		}
		kib, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil || kib <= 0 || kib > math.MaxInt64>>10 {
			break
		}
		return kib << 10, nil
	}
	return 0, errors.New("read physical memory: /proc/meminfo has no MemTotal")
}

// groupLimit is the lowest limit of the control group that this process is in and of those above it (cgroups(7)), or
// math.MaxInt64. A group's folder that is not there is passed over: a container sees its own group as the root, under
// a path that may be the host's. memory.high counts too: beyond it the kernel slows a process down until it is of no
// use.
func groupLimit(root fs.FS) int64 {
	lowest := int64(math.MaxInt64)
	data, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return lowest // no control groups here
	}
	for line := range strings.Lines(string(data)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		base, files := "", []string(nil)
		switch {
		case parts[0] == "0" && parts[1] == "": // version 2
			base, files = "sys/fs/cgroup", []string{"memory.max", "memory.high"}
		case slices.Contains(strings.Split(parts[1], ","), "memory"): // version 1
			base, files = "sys/fs/cgroup/memory", []string{"memory.limit_in_bytes"}
		}
		for group := path.Clean("/" + parts[2]); base != ""; group = path.Dir(group) {
			for _, file := range files {
				lowest = min(lowest, readLimit(root, path.Join(base, group, file)))
			}
			if group == "/" {
				break
			}
		}
	}
	return lowest
}

// readLimit reads one number. What is absent, "max", or no number is no limit.
func readLimit(root fs.FS, file string) int64 {
	data, err := fs.ReadFile(root, file)
	if err != nil {
		return math.MaxInt64
	}
	limit, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
	if err != nil || limit <= 0 {
		return math.MaxInt64
	}
	return limit
}
