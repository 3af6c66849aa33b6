package main

import (
	"context"
	"os"
	"os/exec"
	"runtime"
	"strings"
)

// machine is where a run was made, and with what: absolute figures mean nothing without it.
type machine struct {
	Processor  string   `json:"processor"`
	Processors int      `json:"processors"`
	Memory     string   `json:"memory"`
	Kernel     string   `json:"kernel"`
	System     string   `json:"system"`
	Go         string   `json:"go"`
	FileSystem string   `json:"fileSystem"` // of the servers' data
	LoadBefore string   `json:"loadBefore"` // load averages right before the first scenario: was somebody else busy?
	Versions   []string `json:"versions"`
}

// readMachine says what it can find out.
func readMachine(ctx context.Context, dir, binary string) machine {
	m := machine{
		Processors: runtime.NumCPU(), Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH,
		Processor:  valueOf("/proc/cpuinfo", "model name"),
		Memory:     valueOf("/proc/meminfo", "MemTotal"),
		Kernel:     firstWord(os.ReadFile("/proc/sys/kernel/osrelease")),
		LoadBefore: strings.Join(firstFields("/proc/loadavg", 3), " "),
		FileSystem: firstLine(ctx, "stat", "-f", "-c", "%T", dir),
		Versions:   []string{},
	}
	if binary != "" {
		m.version(ctx, binary, "version")
	}
	if commit := firstLine(ctx, "git", "describe", "--always", "--dirty"); commit != "" {
		m.Versions = append(m.Versions, "this tree: "+commit)
	}
	m.version(ctx, "redis-server", "--version")
	m.version(ctx, "etcd", "--version")
	return m
}

func (m *machine) version(ctx context.Context, program string, args ...string) {
	if text := firstLine(ctx, program, args...); text != "" {
		m.Versions = append(m.Versions, text)
	}
}

// firstLine returns the first line that a program prints, "" where there is none.
func firstLine(ctx context.Context, program string, args ...string) string {
	out, err := exec.CommandContext(ctx, program, args...).Output()
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(line)
}

func firstWord(text []byte, err error) string {
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

func firstFields(path string, n int) []string {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	fields := strings.Fields(string(text))
	return fields[:min(n, len(fields))]
}

// valueOf returns the value of the first line "name : value" of a file.
func valueOf(path, name string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
