//go:build race

package httpapi

// raceEnabled tells tests that count allocations that the race detector makes its own, and empties pools at random.
const raceEnabled = true
