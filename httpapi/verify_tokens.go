package httpapi

import (
	"bytes"

	"cloakroom/cluster/session"
	"cloakroom/httpapi/credential"
	"cloakroom/httpapi/exchange"
)

// bulkCheck is the body of POST /api/sessions/verify as it is worked on: used again and again, as there may be thousands
// of tokens in each.
type bulkCheck struct {
	tokens [][]byte // of the request's body, or made of it
	keys   []session.Key
	good   []bool // whether the token has the form of one, and the key is its key
	bearer []bool // whether it has that of a bearer token
}

// read reads the body, and the keys of the tokens in it.
func (in *bulkCheck) read(rc *exchange.Request) error {
	defer func() { clear(in.tokens) }() // the bytes are the request's; how many there are is still to be known
	in.tokens, in.keys, in.good, in.bearer = in.tokens[:0], in.keys[:0], in.good[:0], in.bearer[:0]
	if !exchange.IsJSON(rc.Ctx.Request.Header.ContentType()) || !in.scan(rc.Ctx.PostBody()) {
		var body struct {
			Tokens []string `json:"tokens"`
		}
		if err := exchange.DecodeJSON(rc, &body); err != nil {
			return err
		}
		in.tokens = in.tokens[:0]
		for _, text := range body.Tokens[:min(len(body.Tokens), exchange.MaxBulkVerify+1)] {
			in.tokens = append(in.tokens, []byte(text))
		}
	}
	switch {
	case len(in.tokens) == 0:
		return exchange.MissingField("tokens is required: an array of at least one")
	case len(in.tokens) > exchange.MaxBulkVerify:
		return exchange.ErrVerifyLimit
	}
	for _, text := range in.tokens {
		key, bearer := credential.ParseBearer(text)
		ok := bearer
		if !bearer {
			key, ok = credential.Parse(text)
		}
		in.keys, in.good, in.bearer = append(in.keys, key), append(in.good, ok), append(in.bearer, bearer)
	}
	return nil
}

// fits reports whether a session's token is in the form that it was handed out in.
func (in *bulkCheck) fits(i int, view *session.View) bool {
	return (view.Session.Surface == session.SurfaceBearer) == in.bearer[i]
}

// scan reads a body in the one form that programs write, {"tokens":["…","…"]} with white space or without, where no
// string has an escape or anything but printable ASCII. False: it may be JSON all the same. It stops behind the first
// token that is too many.
func (in *bulkCheck) scan(body []byte) bool {
	rest, ok := after(body, '{')
	if !ok {
		return false
	}
	name := []byte(`"tokens"`)
	rest = blanks(rest)
	if !bytes.HasPrefix(rest, name) {
		return false
	}
	if rest, ok = after(rest[len(name):], ':'); !ok {
		return false
	}
	if rest, ok = after(rest, '['); !ok {
		return false
	}
	for more := true; more; {
		if rest, ok = after(rest, '"'); !ok {
			return false // of no token too: that is rare
		}
		end := bytes.IndexByte(rest, '"')
		if end < 0 || !printable(rest[:end]) || bytes.IndexByte(rest[:end], '\\') >= 0 {
			return false
		}
		if len(in.tokens) <= exchange.MaxBulkVerify {
			in.tokens = append(in.tokens, rest[:end])
		}
		rest, more = after(rest[end+1:], ',')
	}
	if rest, ok = after(rest, ']'); !ok {
		return false
	}
	rest, ok = after(rest, '}')
	return ok && len(blanks(rest)) == 0
}

// after returns what follows a character with blanks before it; as it was if there is none.
func after(text []byte, c byte) ([]byte, bool) {
	if trimmed := blanks(text); len(trimmed) > 0 && trimmed[0] == c {
		return trimmed[1:], true
	}
	return text, false
}

// blanks returns the text without JSON's white space before it.
func blanks(text []byte) []byte {
	for len(text) > 0 && (text[0] == ' ' || text[0] == '\n' || text[0] == '\r' || text[0] == '\t') {
		text = text[1:]
	}
	return text
}
