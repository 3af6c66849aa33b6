package support

import "time"

// Limits of a bundle. What is over them is cut off, and the manifest says so.
const (
	MaxPart   = 4 << 20  // bytes of one part: a thousand goroutines of different stacks are one
	MaxBundle = 16 << 20 // bytes of all parts, before they are compressed
	// PartTimeout is how long one part may take, all at once: a node without a leader lets a question wait for some seconds,
	// and a disk that hangs never answers.
	PartTimeout = 8 * time.Second
)

// Limits of the lines of the log that are kept.
const (
	MaxLog  = 256 << 10 // bytes in all: some thousand lines, which is weeks of a cluster at rest and hours of one in trouble
	MaxLine = 8 << 10   // bytes of one: the stack of a panic
)
