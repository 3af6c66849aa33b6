package exchange

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"

	"cloakroom/cluster/session"
)

// ETag sends a session's revision: that of its attributes, which no touch moves.
func ETag(rc *Request, rev uint64) {
	rc.Buf = append(rc.Buf[:0], '"')
	rc.Buf = strconv.AppendUint(rc.Buf, rev, 10)
	rc.Buf = append(rc.Buf, '"')
	rc.Ctx.Response.Header.SetBytesV(fasthttp.HeaderETag, rc.Buf)
}

// IfMatch returns the revision that a change must find, 0 for any. Only strong tags match (RFC 9110, 13.1.1). Of
// several tags the one of current counts, the revision that this node saw; the machine has the last word anyway. The
// error is ErrConflict.
func IfMatch(rc *Request, current uint64) (uint64, error) {
	lines := rc.Ctx.Request.Header.PeekAll(fasthttp.HeaderIfMatch)
	if len(lines) == 0 {
		return 0, nil // an empty one is another matter: its sender did not mean "whatever is there"
	}
	var revs []uint64
	for _, tag := range SplitList(bytes.Join(lines, []byte(","))) {
		if tag == "*" {
			return 0, nil
		}
		if n := len(tag); n > 2 && tag[0] == '"' && tag[n-1] == '"' {
			if rev, err := strconv.ParseUint(tag[1:n-1], 10, 64); err == nil && rev != 0 {
				revs = append(revs, rev)
			}
		}
	}
	for _, rev := range revs {
		if len(revs) == 1 || rev == current {
			return rev, nil
		}
	}
	return 0, session.ErrConflict
}

// SplitList splits a header's list of values.
func SplitList(header []byte) []string {
	parts := strings.Split(string(header), ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}
