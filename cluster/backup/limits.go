package backup

const (
	maxHead  = 16 << 10 // bytes of the head: it has a dozen short fields
	maxFrame = 64 << 10 // bytes of a frame, held in memory by writer and reader
)
