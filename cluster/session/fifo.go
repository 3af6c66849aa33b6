package session

// fifoChunk is the number of elements that fifo allocates at a time.
const fifoChunk = 512

// fifo is a queue that is only ever appended to and shortened at its head, in chunks that are never moved: a view
// shares them with the queue while it goes on.
type fifo[T any] struct {
	chunks []*[fifoChunk]T
	first  int // position of chunks[0][0]; positions count from the first element ever
	head   int // position of the oldest element
	tail   int // position after the newest
}

// push appends and returns the element's position.
func (f *fifo[T]) push(v T) int {
	at := f.tail
	if at-f.first == len(f.chunks)*fifoChunk {
		f.chunks = append(f.chunks, new([fifoChunk]T))
	}
	f.chunks[(at-f.first)/fifoChunk][(at-f.first)%fifoChunk] = v
	f.tail++
	return at
}

// pop drops the oldest element. Its slot is left as it is, for a view may still read it.
func (f *fifo[T]) pop() {
	f.head++
	if f.head-f.first == fifoChunk {
		f.chunks[0] = nil // else it would be held until the slice is moved
		f.chunks = f.chunks[1:]
		f.first = f.head
	}
}

func (f *fifo[T]) len() int { return f.tail - f.head }

// at returns the element at a position between head and tail.
func (f *fifo[T]) at(pos int) T { return *f.ref(pos) }

func (f *fifo[T]) ref(pos int) *T {
	return &f.chunks[(pos-f.first)/fifoChunk][(pos-f.first)%fifoChunk]
}

// view returns the queue as it is now; it stays so.
func (f *fifo[T]) view() fifo[T] {
	v := *f
	v.chunks = append([]*[fifoChunk]T(nil), f.chunks...)
	return v
}

// each calls fn with the elements, oldest first, until it returns false.
func (f *fifo[T]) each(fn func(T) bool) {
	for pos := f.head; pos < f.tail; pos++ {
		if !fn(f.at(pos)) {
			return
		}
	}
}
