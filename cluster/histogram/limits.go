package histogram

// The bounds of the buckets are powers of two, from about 8 µs to about 8.6 s: so a quantile is right but for a factor of
// two at the most, and a bucket is found without a search.
const (
	firstBits = 13 // the first bound is 2^13 ns
	Buckets   = 21 // with a bound
)
