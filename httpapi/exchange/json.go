package exchange

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/valyala/fasthttp"

	"cloakroom/cluster/session"
)

// AppendString appends s as a JSON string. Bytes that are not UTF-8 become U+FFFD, and characters that could end a
// script element are escaped, as encoding/json does.
func AppendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	from := len(dst)
	if dst = append(dst, s...); plainJSON(dst[from:]) {
		return append(dst, '"')
	}
	return appendEscaped(dst[:from], s)
}

// plainJSON reports whether all bytes are of ASCII, and none is escaped by appendEscaped. It looks at eight at a time.
func plainJSON(b []byte) bool {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	for ; len(b) >= 8; b = b[8:] {
		x := binary.LittleEndian.Uint64(b)
		bad := x | (x - ' '*ones) | (x + ones) // beyond ASCII, control characters, DEL
		for _, zero := range [...]uint64{x ^ '\\'*ones, (x | 2*ones) ^ '>'*ones, (x | 4*ones) ^ '&'*ones} {
			bad |= (zero - ones) &^ zero // where a byte is zero: a backslash; < or >; a quote or &
		}
		if bad&tops != 0 {
			return false
		}
	}
	for _, c := range b {
		if c < ' ' || c >= 0x7f || c == '\\' || c|2 == '>' || c|4 == '&' {
			return false
		}
	}
	return true
}

// appendEscaped is appendString behind the first quote, for whatever the string holds.
func appendEscaped(dst []byte, s string) []byte {
	const hexDigits = "0123456789abcdef"
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

// AppendTime appends a moment as a JSON string in the form of RFC 3339 with milliseconds, in UTC. It is time.Format
// for one layout, five times as fast: a lookup shows four moments.
func AppendTime(dst []byte, t session.Time) []byte {
	const day = 24 * 60 * 60 * 1000
	days, rest := int64(t)/day, int64(t)%day
	if t < 0 || days > 2932896 { // before 1970 or after 9999: nothing that a record can hold
		days, rest = 0, 0
	}
	year, month, mday := civil(days)
	at := len(dst)
	dst = append(dst, `"0000-00-00T00:00:00.000Z"`...)
	b := dst[at:]
	two(b[1:], year/100)
	two(b[3:], year%100)
	two(b[6:], month)
	two(b[9:], mday)
	two(b[12:], rest/3_600_000)
	two(b[15:], rest/60_000%60)
	two(b[18:], rest/1000%60)
	b[21] = byte('0' + rest%1000/100)
	two(b[22:], rest%100)
	return dst
}

// two writes two digits.
func two(b []byte, n int64) {
	b[0], b[1] = byte('0'+n/10), byte('0'+n%10)
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

// DecodeJSON reads the request's body into v. Unknown fields are passed over. The error is errMalformedJSON.
func DecodeJSON(rc *Request, v any) error {
	if !IsJSON(rc.Ctx.Request.Header.ContentType()) {
		return ErrMalformedJSON
	}
	// Invalid UTF-8 and halves of surrogate pairs would be replaced in silence, and a password with them would be
	// another one.
	body := rc.Ctx.PostBody()
	if !utf8.Valid(body) || !pairedSurrogates(body) || json.Unmarshal(body, v) != nil {
		return ErrMalformedJSON
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

// IsJSON reports whether a Content-Type is application/json, with whatever parameters. Nothing else will do: it is
// the one type that a page of another origin can't send without asking first.
func IsJSON(contentType []byte) bool {
	if i := bytes.IndexByte(contentType, ';'); i >= 0 {
		contentType = contentType[:i]
	}
	return bytes.EqualFold(bytes.TrimSpace(contentType), []byte(TypeJSON))
}

// WriteJSON answers with v. It is for what is not asked for often.
func WriteJSON(rc *Request, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	rc.Ctx.SetStatusCode(status)
	rc.Ctx.Response.Header.SetContentType(TypeJSON)
	rc.Ctx.SetBody(body)
	return nil
}

// NoContent answers 204.
func NoContent(rc *Request) error {
	rc.Ctx.SetStatusCode(fasthttp.StatusNoContent)
	return nil
}
