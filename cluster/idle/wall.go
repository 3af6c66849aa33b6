//go:build !faults

package idle

import "time"

// wallClock reads this machine's wall clock. Builds tagged faults can be told to read it wrongly.
func wallClock() time.Time { return time.Now().Round(0) } // without the monotonic reading, which would win over it
