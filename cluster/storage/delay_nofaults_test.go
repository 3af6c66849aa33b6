//go:build !faults

package storage

const diskFaults = false
