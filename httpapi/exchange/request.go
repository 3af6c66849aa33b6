package exchange

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/valyala/fasthttp"
)

// Request is one request on its way through the handlers. It is reused: nothing of it, and no bytes of ctx, may be
// kept after the handler has returned. A handler that starts a goroutine waits for it.
type Request struct {
	Ctx     *fasthttp.RequestCtx
	Route   *Route
	Rest    string // what follows a route's path, for one that ends in "/": an id
	Control bool   // came by the control socket: an admin without a cookie

	Buf []byte // scratch for what a handler appends

	Scheme        []byte // of the client, as the last X-Forwarded-Proto says; it counts from trusted proxies (isHTTPS)
	Authorization []byte // the header Authorization, nil without one
	Bearer        bool   // the call is made with a bearer token: its answer sets no cookie
	id            [MaxRequestID]byte
	idLen         int
	Start         time.Time  // when it was whole
	Named         bool       // the request names the level of its reads itself
	Weakened      bool       // a lookup for it was answered at less than it should have been: the node is cut off
	Client        netip.Addr // cached by clientAddr
	Waiting       context.Context
	Cancel        context.CancelFunc
	InFlight      bool
}

// Reset forgets everything but the scratch buffer.
func (rc *Request) Reset(ctx *fasthttp.RequestCtx, control bool, start time.Time) {
	*rc = Request{Ctx: ctx, Control: control, Start: start, Buf: rc.Buf[:0]}
}

// RequestID returns the request's id: the one that a trusted proxy gave, or one that is made when it is first asked
// for. It needs to be unique, not secret.
func (rc *Request) RequestID() []byte {
	if rc.idLen == 0 {
		rc.idLen = len(AppendRequestID(rc.id[:0]))
	}
	return rc.id[:rc.idLen]
}

// SetID takes an id over that somebody else has given, of maxRequestID bytes at most.
func (rc *Request) SetID(id []byte) { rc.idLen = copy(rc.id[:], id) }

// AppendRequestID appends a fresh request id.
func AppendRequestID(dst []byte) []byte {
	var raw [8]byte
	binary.LittleEndian.PutUint64(raw[:], rand.Uint64())
	return hex.AppendEncode(dst, raw[:])
}

// Headers that are read or written in more than one place.
const (
	HeaderRequestID   = "X-Request-Id"
	HeaderNoTouch     = "X-No-Touch"
	HeaderConsistency = "Consistency"
	HeaderRetryAfter  = "Retry-After"
	HeaderNoStore     = "no-store"
	TypeJSON          = "application/json"
)

// RoutePath returns the label of the route that was found, "" before one was.
func (rc *Request) RoutePath() string {
	if rc.Route == nil {
		return ""
	}
	return rc.Route.Path
}
