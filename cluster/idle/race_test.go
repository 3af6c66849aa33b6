//go:build race

package idle_test

const raceEnabled = true
