//go:build race

package credential

// raceEnabled tells tests that count allocations that the race detector makes its own, and empties pools at random.
const raceEnabled = true
