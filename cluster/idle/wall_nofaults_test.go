//go:build !faults

package idle

const wallFaults = false
