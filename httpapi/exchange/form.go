package exchange

import (
	"bytes"
	"slices"
	"strconv"
	"unicode/utf8"

	"cloakroom/cluster/session"
)

// Args are the arguments of a call, in order: those of the query, then those of the body.
type Args []arg

type arg struct{ Name, Value string }

var (
	errArgsType = BadField("the body must be sent as application/x-www-form-urlencoded")
	errArgsText = BadField("names and values must be UTF-8")
)

// ReadArgs reads a call's arguments. They are copies: they outlive the request.
func ReadArgs(rc *Request) (Args, error) {
	list, err := ParseArgs(nil, rc.Ctx.URI().QueryString())
	if err != nil || !rc.Ctx.IsPost() {
		return list, err
	}
	body := rc.Ctx.PostBody()
	if len(body) > 0 && !IsForm(rc.Ctx.Request.Header.ContentType()) {
		return nil, errArgsType
	}
	return ParseArgs(list, body)
}

// ParseArgs appends the arguments of a query or of a form. It is as lenient as browsers are (URL standard, 5.1): a
// percent sign that begins no escape stands for itself, since clients send values such as "100%". The error is
// session.ErrLimitAttributes.
func ParseArgs(list Args, text []byte) (Args, error) {
	for len(text) > 0 {
		pair, rest, _ := bytes.Cut(text, []byte("&"))
		text = rest
		if len(pair) == 0 {
			continue
		}
		if len(list) == MaxArgs {
			return nil, session.ErrLimitAttributes
		}
		name, value, _ := bytes.Cut(pair, []byte("="))
		list = append(list, arg{unescape(name), unescape(value)})
	}
	return list, nil
}

func unescape(text []byte) string {
	plain := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		switch c := text[i]; c {
		case '+':
			plain = append(plain, ' ')
		case '%':
			if b, ok := fromPercent(text[i:]); ok {
				plain = append(plain, b)
				i += 2
				continue
			}
			plain = append(plain, c)
		default:
			plain = append(plain, c)
		}
	}
	return string(plain)
}

// fromPercent reads the escape that text begins with.
func fromPercent(text []byte) (byte, bool) {
	if len(text) < 3 {
		return 0, false
	}
	high, ok := fromHex(text[1])
	low, ok2 := fromHex(text[2])
	return high<<4 | low, ok && ok2
}

func fromHex(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// Last returns the last argument of a name: one in the body overrides one in the query.
func (list Args) Last(name string) string {
	for _, l := range slices.Backward(list) {
		if l.Name == name {
			return l.Value
		}
	}
	return ""
}

// Keys returns the attributes that a get or a delete names, without duplicates. all means that it names none, and so
// means every one; "key=" alone says the same.
func (list Args) Keys() (keys []string, all bool) {
	named := 0
	seen := map[string]bool{}
	for _, a := range list {
		if a.Name != "key" {
			continue
		}
		named++
		if !seen[a.Value] {
			seen[a.Value] = true
			keys = append(keys, a.Value)
		}
	}
	return keys, named == 0 || named == 1 && keys[0] == ""
}

// Attributes returns what a put sets: every argument but the CSRF token. Of several of one name the last one counts.
// Text that is not UTF-8 is refused: it could not be given back as JSON.
func (list Args) Attributes() ([]session.Attr, error) {
	at := make(map[string]int, len(list))
	attrs := make([]session.Attr, 0, len(list))
	for _, a := range list {
		if a.Name == session.ReservedAttribute {
			continue
		}
		if !utf8.ValidString(a.Name) || !utf8.ValidString(a.Value) {
			return nil, errArgsText
		}
		if i, ok := at[a.Name]; ok {
			attrs[i].Value = a.Value
			continue
		}
		at[a.Name] = len(attrs)
		attrs = append(attrs, session.Attr{Key: a.Name, Value: a.Value})
	}
	return attrs, nil
}

// IsForm reports whether a body is a form's. Clients that name no type mean one.
func IsForm(contentType []byte) bool {
	kind, _, _ := bytes.Cut(contentType, []byte(";"))
	kind = bytes.TrimSpace(kind)
	return len(kind) == 0 || bytes.EqualFold(kind, []byte("application/x-www-form-urlencoded"))
}

// PageSize reads ?limit=N.
func PageSize(rc *Request) (int, error) {
	text := rc.Ctx.QueryArgs().Peek("limit")
	if len(text) == 0 {
		return defaultPage, nil
	}
	n, err := strconv.Atoi(string(text))
	if err != nil || n < 1 || n > MaxPage {
		return 0, BadField("limit must be 1 to " + strconv.Itoa(MaxPage))
	}
	return n, nil
}
