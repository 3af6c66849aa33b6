package httpapi

import (
	"bytes"
	_ "embed" // the document
	"strconv"

	"cloakroom/httpapi/exchange"
)

// openAPIText is what the whole surface looks like, in the words of OpenAPI 3.1. The tests hold each of its operations to
// the server and each of the server's to it.
//
//go:embed openapi.json
var openAPIText string

// openAPIVersion is what stands in the text for the program's version.
const openAPIVersion = `"version": "0"`

func openAPIOf(version string) []byte {
	return bytes.Replace([]byte(openAPIText), []byte(openAPIVersion), []byte(`"version": `+strconv.QuoteToASCII(version)), 1)
}

// document is GET /openapi.json.
func document(text []byte) exchange.Handler {
	return func(rc *exchange.Request) error {
		rc.Ctx.Response.Header.SetContentType(exchange.TypeJSON)
		rc.Ctx.Response.SetBodyRaw(text)
		return nil
	}
}
