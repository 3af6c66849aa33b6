//go:build race

package propose

const raceEnabled = true
