//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// insideCommand is the first argument of the process that runs in namespaces of its own; probeCommand of one that only
// finds out whether it could.
const (
	insideCommand = "inside"
	probeCommand  = "probe"
)

// errMissing says what this machine lacks.
var errMissing = errors.New("this machine lacks what the fault suite needs")

// spec is what a run inside is told.
type spec struct {
	Dir     string // for everything that it leaves behind
	Binary  string
	Options options
	Mutant  string // the bug in the binary; "": none
}

// sealed prepares a command to run in namespaces of its own for processes, the network and mounts. They are gone with
// its process, and everything in them: nodes, links, rules and file systems, whatever way it ends. It ends with this one.
func sealed(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "/proc/self/exe", args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS,
		Pdeathsig:  syscall.SIGKILL,
	}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopWithin
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd
}

// runInside runs one suite in namespaces of its own and returns its report. An error means that it has none.
func runInside(ctx context.Context, s spec) (*report, error) {
	data, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("write specification: %w", err)
	}
	path := filepath.Join(s.Dir, "spec.json")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		return nil, fmt.Errorf("write specification: %w", err)
	}
	// The signal at this process's death is that of the thread which has started the child.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := sealed(ctx, insideCommand, path).Run(); err != nil {
		return nil, fmt.Errorf("run inside: %w", err)
	}
	data, err = os.ReadFile(filepath.Join(s.Dir, reportFile))
	if err != nil {
		return nil, fmt.Errorf("read report: %w", err)
	}
	r := new(report)
	if err := json.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("read report: %w", err)
	}
	return r, nil
}

// settle makes the namespaces that this process was started in usable: no mount gets out, /proc shows these processes,
// and names of networks are its own.
func settle() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	if err := os.MkdirAll(networkNames, 0o755); err != nil {
		return fmt.Errorf("make %s: %w", networkNames, err)
	}
	if err := unix.Mount("tmpfs", networkNames, "tmpfs", 0, "mode=0755"); err != nil {
		return fmt.Errorf("mount %s: %w", networkNames, err)
	}
	return nil
}

// probe tries in small everything that a run does to the network and to disks.
func probe() error {
	if err := settle(); err != nil {
		return err
	}
	for _, words := range []string{
		"ip link set lo up",
		"ip netns add probe",
		"ip link add probe type veth peer name eth0 netns probe",
		"nft add table ip probe",
		"nft add chain ip probe c { type filter hook forward priority 0 ; }",
		"nft add rule ip probe c numgen random mod 1000 < 1 counter drop",
		"ip rule add iif probe lookup 100",
	} {
		if err := command(strings.Fields(words)...); err != nil {
			return err
		}
	}
	if err := os.WriteFile(forwarding, []byte("1"), 0o644); err != nil {
		return fmt.Errorf("forward packets: %w", err)
	}
	tun, err := openTun("probe0")
	if err != nil {
		return err
	}
	return tun.Close()
}

// checkMachine finds out whether a run is possible here. The error names what is missing.
func checkMachine(ctx context.Context) error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("%w: the rights of root", errMissing)
	}
	for _, program := range []string{"ip", "nft"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("%w: the program %s", errMissing, program)
		}
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := sealed(ctx, probeCommand)
	cmd.Stdout, cmd.Stderr = nil, nil
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("%w: namespaces, nftables or TUN devices: %w: %s", errMissing, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// command runs a short command of the system.
func command(words ...string) error {
	out, err := exec.Command(words[0], words[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(words, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
