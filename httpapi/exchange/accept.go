package exchange

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"
)

// PrefersHTML reports whether a request would rather have a page than JSON: text/html is named in Accept, and weighs
// more than application/json does there, or as much and is named first (RFC 9110, 12.5.1). "*/*" asks for no page:
// command line clients send it.
func PrefersHTML(rc *Request) bool {
	var page, data float64
	pageFirst := false
	for _, line := range rc.Ctx.Request.Header.PeekAll(fasthttp.HeaderAccept) {
		for item := range bytes.SplitSeq(line, []byte(",")) {
			kind, params, _ := bytes.Cut(item, []byte(";"))
			switch strings.ToLower(string(bytes.TrimSpace(kind))) {
			case "text/html":
				page = max(page, Quality(params))
				pageFirst = pageFirst || data == 0
			case TypeJSON:
				data = max(data, Quality(params))
			}
		}
	}
	return page > data || page > 0 && page == data && pageFirst
}

// Quality returns the weight among a media range's parameters, 1 where there is none, 0 where it is nonsense.
func Quality(params []byte) float64 {
	for param := range bytes.SplitSeq(params, []byte(";")) {
		name, value, _ := bytes.Cut(bytes.TrimSpace(param), []byte("="))
		if !bytes.EqualFold(bytes.TrimSpace(name), []byte("q")) {
			continue
		}
		q, err := strconv.ParseFloat(string(bytes.TrimSpace(value)), 64)
		if err == nil && q >= 0 && q <= 1 {
			return q
		}
		return 0
	}
	return 1
}

// FromBrowser reports whether a request shows any sign of a modern browser.
func FromBrowser(rc *Request) bool {
	h := &rc.Ctx.Request.Header
	if len(h.Peek(fasthttp.HeaderOrigin)) > 0 {
		return true
	}
	for _, key := range h.PeekKeys() {
		if len(key) >= len(secFetch) && strings.EqualFold(string(key[:len(secFetch)]), secFetch) {
			return true
		}
	}
	return false
}

const secFetch = "Sec-Fetch-"
