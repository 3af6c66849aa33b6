package exchange

import (
	"bytes"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"cloakroom/httpapi/transport"
)

// Bodies bounds how many large bodies, those above MaxBody, a node holds at once: fasthttp makes room for the whole of one
// before it reads a byte of it, and before anyone knows who sends it.
//
// A request is known by its header here: there is nothing else where fasthttp asks for the limit of a body. Its place is
// given back with the body (Release). Of some ends fasthttp tells nobody, as of a client who goes between two chunks. So
// the place of a request that no handler has got (Hold) is free when the time is over that a request may take to arrive.
type Bodies struct {
	// Limits, to be changed before the first request only.
	InAll    int
	Patience time.Duration // for one to be read

	held atomic.Int32 // len(until): most requests need not look further

	mu    sync.Mutex
	until map[*fasthttp.RequestHeader]time.Time // when a place is free again; zero: when the handler is done
}

// NewBodies returns the bounds of one node.
func NewBodies() *Bodies {
	return &Bodies{InAll: maxLargeBodies, Patience: transport.ReadTimeout, until: map[*fasthttp.RequestHeader]time.Time{}}
}

// HeaderReceived is called between the header and the body. It returns the limit of the body, and puts right what
// fasthttp would make of Expect: there is nothing to ask for where no body follows or the client is too old to know.
//
// A large body for which there is no place is made one that is asked for, or fasthttp would read it: see Fits.
func (b *Bodies) HeaderReceived(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
	if expect := h.Peek(fasthttp.HeaderExpect); len(expect) > 0 {
		switch length := h.ContentLength(); {
		case !h.IsHTTP11(), length == noBody, length == 0:
			h.Del(fasthttp.HeaderExpect)
		case bytes.EqualFold(expect, []byte("100-continue")):
			h.Set(fasthttp.HeaderExpect, "100-continue") // fasthttp knows it in lower case only
		}
	}
	limit := MaxBody
	if isLarge(h) {
		if b.take(h, time.Now()) {
			limit = BodyLimit(h)
		} else {
			h.Set(fasthttp.HeaderExpect, "100-continue")
		}
	}
	return fasthttp.RequestConfig{MaxRequestBodySize: limit}
}

// isLarge reports whether a body is within its limit and above MaxBody, or may be.
func isLarge(h *fasthttp.RequestHeader) bool {
	limit := BodyLimit(h)
	if limit == MaxBody {
		return false
	}
	length := h.ContentLength()
	return length == chunkedBody || length > MaxBody && length <= limit
}

// Fits reports whether there is a place for a request's body, or no need of one. It is to be asked before a client is told
// to send it.
func (b *Bodies) Fits(h *fasthttp.RequestHeader) bool {
	if !isLarge(h) {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	_, ok := b.until[h]
	return ok
}

func (b *Bodies) take(h *fasthttp.RequestHeader, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.until, h) // of a request before
	b.sweepLocked(now)
	if len(b.until) >= b.InAll {
		return false
	}
	b.until[h] = now.Add(b.Patience)
	b.held.Store(int32(len(b.until)))
	return true
}

func (b *Bodies) sweepLocked(now time.Time) {
	maps.DeleteFunc(b.until, func(_ *fasthttp.RequestHeader, until time.Time) bool { return !until.IsZero() && !now.Before(until) })
	b.held.Store(int32(len(b.until)))
}

// Hold says that a request has come to its handler, whole. If it has a place, it keeps it until Release.
func (b *Bodies) Hold(req *fasthttp.Request) {
	if b.held.Load() == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.until[&req.Header]; ok {
		b.until[&req.Header] = time.Time{}
	}
}

// Release drops a request's body if it is large, and gives its place back. To drop it, or fasthttp would keep the memory for
// the next request of the connection.
func (b *Bodies) Release(req *fasthttp.Request) {
	req.ReleaseBody(MaxBody)
	if b.held.Load() == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.until, &req.Header)
	b.held.Store(int32(len(b.until)))
}

// Held returns how many places are taken.
func (b *Bodies) Held() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sweepLocked(time.Now())
	return len(b.until)
}
