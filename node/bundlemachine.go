package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"cloakroom/httpapi/support"
)

// Limits of what a support bundle tells of a machine.
const (
	maxListed = 2000     // files of the data directory: raft has a dozen, a recovery keeps as many again
	maxKernel = 16 << 10 // bytes of one file of the kernel's
)

// partFiles lists the data directory.
func partFiles(dir string) support.Part {
	return support.Part{Name: "files.txt", Holds: "names, sizes and times of the files in the data directory", Take: func(ctx context.Context, w io.Writer) error {
		listed := 0
		return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				if errors.Is(err, fs.ErrNotExist) && path != dir {
					return nil // it has gone meanwhile
				}
				return err
			}
			if listed++; listed > maxListed {
				_, err := fmt.Fprintf(w, "and more than these %d\n", maxListed)
				return errors.Join(err, fs.SkipAll)
			}
			info, err := entry.Info()
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			name, err := filepath.Rel(dir, path)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(w, "%s %12d %s %s\n", info.Mode(), info.Size(), info.ModTime().UTC().Format(time.RFC3339), name)
			return err
		})
	}}
}

// kernelFiles say what the kernel allows a process, and how busy the machine is. None of them has anything of a process' memory,
// command line or environment in it.
var kernelFiles = []string{
	"/proc/version", "/proc/uptime", "/proc/loadavg", "/proc/self/limits", "/proc/self/cgroup", "/proc/meminfo", "/proc/pressure/cpu",
	"/proc/pressure/io", "/proc/pressure/memory", "/proc/sys/fs/file-max", "/proc/sys/fs/file-nr", "/proc/sys/net/core/somaxconn",
	"/proc/sys/net/ipv4/tcp_max_syn_backlog", "/proc/sys/net/ipv4/ip_local_port_range", "/proc/sys/vm/overcommit_memory", "/proc/sys/vm/max_map_count",
	"/proc/sys/vm/swappiness", "/proc/sys/kernel/pid_max", "/sys/kernel/mm/transparent_hugepage/enabled",
	"/sys/devices/system/clocksource/clocksource0/current_clocksource", "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.high",
	"/sys/fs/cgroup/cpu.max", "/sys/fs/cgroup/pids.max", "/proc/net/sockstat",
}

// partKernel is what the kernel says of this machine. Not every one has all.
func partKernel() support.Part {
	return support.Part{Name: "kernel.txt", Holds: "limits of the kernel, and how busy the machine is", Take: func(ctx context.Context, w io.Writer) error {
		for _, path := range kernelFiles {
			if err := ctx.Err(); err != nil {
				return err
			}
			if _, err := fmt.Fprintf(w, "%s:\n%s\n", path, firstOf(path)); err != nil {
				return err
			}
		}
		return nil
	}}
}

// firstOf returns the beginning of a file, or why there is none.
func firstOf(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return "  (" + err.Error() + ")"
	}
	defer func() { _ = f.Close() }() // only read
	b, err := io.ReadAll(io.LimitReader(f, maxKernel))
	if err != nil {
		return "  (" + err.Error() + ")"
	}
	return "  " + strings.ReplaceAll(strings.TrimRight(string(b), "\n"), "\n", "\n  ")
}
