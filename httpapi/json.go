package httpapi

import (
	"bytes"
	"encoding/json"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/valyala/fasthttp"

	"cloakroom/cluster/session"
)

// appendString appends s as a JSON string. Bytes that are not UTF-8 become U+FFFD, and characters that could end a
// script element are escaped, as encoding/json does.
func appendString(dst []byte, s string) []byte {
	const hexDigits = "0123456789abcdef"
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(s); {
		if c := s[i]; c < utf8.RuneSelf {
			if c >= ' ' && c != '"' && c != '\\' && c != '<' && c != '>' && c != '&' && c != 0x7f {
				i++
				continue
			}
			dst = append(dst, s[from:i]...)
			switch c {
			case '"', '\\':
				dst = append(dst, '\\', c)
			default:
				dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
			}
			i++
			from = i
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			dst = append(append(dst, s[from:i]...), `\ufffd`...)
			from = i + 1
		case r == '\u2028' || r == '\u2029':
			dst = append(append(dst, s[from:i]...), '\\', 'u', '2', '0', '2', hexDigits[r&15])
			from = i + size
		}
		i += size
	}
	return append(append(dst, s[from:]...), '"')
}

// appendTime appends a moment as a JSON string in the form of RFC 3339 with milliseconds, in UTC. It is time.Format
// for one layout, five times as fast: a lookup shows four moments.
func appendTime(dst []byte, t session.Time) []byte {
	const day = 24 * 60 * 60 * 1000
	days, rest := int64(t)/day, int64(t)%day
	if t < 0 || days > 2932896 { // before 1970 or after 9999: nothing that a record can hold
		days, rest = 0, 0
	}
	year, month, mday := civil(days)
	dst = append(dst, '"')
	dst = append(pad(dst, year, 4), '-')
	dst = append(pad(dst, month, 2), '-')
	dst = append(pad(dst, mday, 2), 'T')
	dst = append(pad(dst, rest/3_600_000, 2), ':')
	dst = append(pad(dst, rest/60_000%60, 2), ':')
	dst = append(pad(dst, rest/1000%60, 2), '.')
	return append(pad(dst, rest%1000, 3), 'Z', '"')
}

// civil turns days since 1970-01-01 into a date of the Gregorian calendar (H. Hinnant, "chrono-Compatible Low-Level
// Date Algorithms": eras of 400 years that begin on 1 March).
func civil(days int64) (year, month, mday int64) {
	days += 719468
	era := days / 146097
	doe := days - era*146097
	yoe := (doe - doe/1460 + doe/36524 - doe/146096) / 365
	doy := doe - (365*yoe + yoe/4 - yoe/100)
	mp := (5*doy + 2) / 153
	mday = doy - (153*mp+2)/5 + 1
	month = mp + 3
	if month > 12 {
		month -= 12
	}
	year = yoe + era*400
	if month <= 2 {
		year++
	}
	return year, month, mday
}

func pad(dst []byte, n int64, width int) []byte {
	at := len(dst)
	dst = append(dst, "0000"[:width]...)
	for i := at + width - 1; i >= at; i-- {
		dst[i] = byte('0' + n%10)
		n /= 10
	}
	return dst
}

// decodeJSON reads the request's body into v. Unknown fields are passed over. The error is errMalformedJSON.
func decodeJSON(rc *request, v any) error {
	if !isJSON(rc.ctx.Request.Header.ContentType()) {
		return errMalformedJSON
	}
	// Invalid UTF-8 and halves of surrogate pairs would be replaced in silence, and a password with them would be
	// another one.
	body := rc.ctx.PostBody()
	if !utf8.Valid(body) || !pairedSurrogates(body) || json.Unmarshal(body, v) != nil {
		return errMalformedJSON
	}
	return nil
}

// pairedSurrogates reports whether each escape of half a character, as in \ud83d\ude00, stands beside the other half.
// What is no JSON anyway is left to the decoder.
func pairedSurrogates(text []byte) bool {
	for {
		i := bytes.IndexByte(text, '\\')
		if i < 0 || i+1 == len(text) {
			return true
		}
		first, ok := escapedUnit(text[i:])
		if !ok {
			text = text[i+2:] // \\ among them: what follows it is no escape
			continue
		}
		text = text[i+escapedUnitSize:]
		if !utf16.IsSurrogate(first) {
			continue
		}
		second, _ := escapedUnit(text)
		if utf16.DecodeRune(first, second) == utf8.RuneError {
			return false
		}
		text = text[escapedUnitSize:]
	}
}

const escapedUnitSize = 6 // bytes of \uXXXX

// escapedUnit returns the UTF-16 code unit whose escape text begins with.
func escapedUnit(text []byte) (rune, bool) {
	if len(text) < escapedUnitSize || text[0] != '\\' || text[1] != 'u' {
		return 0, false
	}
	unit, err := strconv.ParseUint(string(text[2:escapedUnitSize]), 16, 16)
	return rune(unit), err == nil
}

// isJSON reports whether a Content-Type is application/json, with whatever parameters. Nothing else will do: it is
// the one type that a page of another origin can't send without asking first.
func isJSON(contentType []byte) bool {
	if i := bytes.IndexByte(contentType, ';'); i >= 0 {
		contentType = contentType[:i]
	}
	return bytes.EqualFold(bytes.TrimSpace(contentType), []byte(typeJSON))
}

// writeJSON answers with v. It is for what is not asked for often.
func writeJSON(rc *request, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	rc.ctx.SetStatusCode(status)
	rc.ctx.Response.Header.SetContentType(typeJSON)
	rc.ctx.SetBody(body)
	return nil
}

// noContent answers 204.
func noContent(rc *request) error {
	rc.ctx.SetStatusCode(fasthttp.StatusNoContent)
	return nil
}
