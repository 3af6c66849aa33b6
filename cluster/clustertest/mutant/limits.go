package mutant

import "time"

// waitDelay is how long what a killed test has started may hold its output open.
const waitDelay = 5 * time.Second
