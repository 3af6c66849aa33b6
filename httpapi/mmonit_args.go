package httpapi

import (
	"bytes"
	"slices"
	"unicode/utf8"

	"cloakroom/cluster/session"
)

// args are the arguments of a call, in order: those of the query, then those of the body.
type args []arg

type arg struct{ name, value string }

var (
	errArgsType = badField("the body must be sent as application/x-www-form-urlencoded")
	errArgsText = badField("names and values must be UTF-8")
)

// readArgs reads a call's arguments. They are copies: they outlive the request.
func readArgs(rc *request) (args, error) {
	list, err := parseArgs(nil, rc.ctx.URI().QueryString())
	if err != nil || !rc.ctx.IsPost() {
		return list, err
	}
	body := rc.ctx.PostBody()
	if len(body) > 0 && !isForm(rc.ctx.Request.Header.ContentType()) {
		return nil, errArgsType
	}
	return parseArgs(list, body)
}

// parseArgs appends the arguments of a query or of a form. It is as lenient as browsers are (URL standard, 5.1): a
// percent sign that begins no escape stands for itself, since clients send values such as "100%". The error is
// session.ErrLimitAttributes.
func parseArgs(list args, text []byte) (args, error) {
	for len(text) > 0 {
		pair, rest, _ := bytes.Cut(text, []byte("&"))
		text = rest
		if len(pair) == 0 {
			continue
		}
		if len(list) == maxArgs {
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

// last returns the last argument of a name: one in the body overrides one in the query.
func (list args) last(name string) string {
	for _, l := range slices.Backward(list) {
		if l.name == name {
			return l.value
		}
	}
	return ""
}

// keys returns the attributes that a get or a delete names, without duplicates. all means that it names none, and so
// means every one; "key=" alone says the same.
func (list args) keys() (keys []string, all bool) {
	named := 0
	seen := map[string]bool{}
	for _, a := range list {
		if a.name != "key" {
			continue
		}
		named++
		if !seen[a.value] {
			seen[a.value] = true
			keys = append(keys, a.value)
		}
	}
	return keys, named == 0 || named == 1 && keys[0] == ""
}

// attributes returns what a put sets: every argument but the CSRF token. Of several of one name the last one counts.
// Text that is not UTF-8 is refused: it could not be given back as JSON.
func (list args) attributes() ([]session.Attr, error) {
	at := make(map[string]int, len(list))
	attrs := make([]session.Attr, 0, len(list))
	for _, a := range list {
		if a.name == csrfName {
			continue
		}
		if !utf8.ValidString(a.name) || !utf8.ValidString(a.value) {
			return nil, errArgsText
		}
		if i, ok := at[a.name]; ok {
			attrs[i].Value = a.value
			continue
		}
		at[a.name] = len(attrs)
		attrs = append(attrs, session.Attr{Key: a.name, Value: a.value})
	}
	return attrs, nil
}

// isForm reports whether a body is a form's. Clients that name no type mean one.
func isForm(contentType []byte) bool {
	kind, _, _ := bytes.Cut(contentType, []byte(";"))
	kind = bytes.TrimSpace(kind)
	return len(kind) == 0 || bytes.EqualFold(kind, []byte("application/x-www-form-urlencoded"))
}
