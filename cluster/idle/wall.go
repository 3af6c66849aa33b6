//go:build !faults

package idle

import "time"

// wallOf returns what this machine's wall clock shows at a moment. Builds tagged faults can be told to read it wrongly.
func wallOf(now time.Time) time.Time { return now.Round(0) } // without the monotonic reading, which would win over it
