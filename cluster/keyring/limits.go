package keyring

// Bounds of a key file. What is refused by them is an accident: a rotation needs two keys at a time.
const (
	MaxKeys = 16       // in one ring
	MaxFile = 16 << 10 // bytes, comments included
)
