package exchange

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/valyala/fasthttp"
)

// A place that a handler has is kept until it gives it back; any other is free when its body must be over.
func TestPlacesOfBodies(t *testing.T) { synctest.Test(t, testPlacesOfBodies) }

func testPlacesOfBodies(t *testing.T) {
	b := NewBodies()
	b.InAll = 2
	large := func(req *fasthttp.Request, want bool) {
		t.Helper()
		req.Header.SetMethod("POST")
		req.Header.SetRequestURI("/api/sessions/verify")
		req.Header.SetContentLength(MaxVerifyBody)
		limit := b.HeaderReceived(&req.Header).MaxRequestBodySize
		if got := b.Fits(&req.Header); got != want || got != (limit == MaxVerifyBody) || req.MayContinue() == want {
			t.Errorf("fits %v, limit %d, may continue %v", got, limit, req.MayContinue())
		}
	}
	var lost, kept, third, fourth fasthttp.Request
	large(&lost, true)
	large(&lost, true) // the request after it on its connection
	large(&kept, true)
	b.Hold(&kept)
	large(&third, false)
	time.Sleep(b.Patience)
	if n := b.Held(); n != 1 {
		t.Errorf("%d places are taken, not the one of a handler", n)
	}
	third.Header.Del(fasthttp.HeaderExpect)
	large(&third, true)
	large(&fourth, false)
	b.Release(&third)
	b.Release(&kept)
	b.Release(&fourth) // which has none
	if n := b.Held(); n != 0 {
		t.Errorf("%d places are taken", n)
	}
}

// Only a body that may be above the limit of all others needs a place.
func TestSmallBodiesNeedNoPlace(t *testing.T) {
	b := NewBodies()
	b.InAll = 0
	for _, tt := range []struct {
		method, uri string
		length      int
		want        int
		fits        bool
	}{
		{"POST", "/api/sessions", MaxBody, MaxBody, true},
		{"POST", "/api/sessions", MaxBody + 1, MaxBody, false},
		{"POST", "/api/sessions", chunkedBody, MaxBody, false},
		{"POST", "/api/sessions", MaxBulkBody + 1, MaxBody, true}, // and is refused for its length
		{"PUT", "/api/sessions", MaxBody + 1, MaxBody, true},
		{"POST", "/api/session", chunkedBody, MaxBody, true},
		{"POST", "/api/sessions/verify?a=b", MaxVerifyBody, MaxBody, false},
	} {
		var h fasthttp.RequestHeader
		h.SetMethod(tt.method)
		h.SetRequestURI(tt.uri)
		h.SetContentLength(tt.length)
		if got := b.HeaderReceived(&h).MaxRequestBodySize; got != tt.want || b.Fits(&h) != tt.fits {
			t.Errorf("%+v: limit %d, fits %v", tt, got, b.Fits(&h))
		}
	}
}
