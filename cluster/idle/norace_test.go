//go:build !race

package idle_test

const raceEnabled = false
