//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"cloakroom/cluster/history"
)

// reply is what a node answered.
type reply struct {
	status int
	code   string // of an error
	header http.Header
	body   []byte
}

// send sends one request. What a cookie names is never printed.
func send(ctx context.Context, client *http.Client, method, url, body string, header ...string) (reply, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return reply{}, err
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer func() { _ = resp.Body.Close() }() // it is read to its end, or of no use
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return reply{}, err
	}
	r := reply{status: resp.StatusCode, header: resp.Header, body: text}
	if resp.StatusCode >= http.StatusBadRequest {
		var e struct{ Code string }
		_ = json.Unmarshal(text, &e) // what is not JSON has no code
		r.code = e.Code
	}
	return r, nil
}

// verdict is what a client knows of its request after the answer.
type verdict struct {
	outcome history.Outcome
	refusal history.Refusal
	odd     string // an answer that no node should give
}

// harmless are the codes of answers after which surely nothing has happened.
var harmless = []string{
	"no-leader", "overloaded", "timeout", "joining", "draining", "cut-off", "disk-low", "limit-memory", "login-busy", "revision-moved", "busy",
	"request-timeout", // the node was stopped between a request's arrival and its reading
}

// judge says what an answer means. A request that never reached the node was not done; one whose answer is missing may
// have been.
func judge(r reply, err error) verdict {
	switch {
	case err != nil && unsent(err):
		return verdict{outcome: history.Dropped}
	case err != nil:
		return verdict{}
	case r.status < http.StatusBadRequest: // M/Monit's login leads to another page
		return verdict{outcome: history.Done}
	case r.status == http.StatusUnauthorized && (r.code == "session-invalid" || r.code == "session-idle-timeout"):
		return verdict{outcome: history.Refused, refusal: history.NotLive}
	case r.status == http.StatusPreconditionFailed:
		return verdict{outcome: history.Refused, refusal: history.Conflict}
	case r.code == "outcome-unknown":
		return verdict{}
	case slices.Contains(harmless, r.code):
		return verdict{outcome: history.Dropped}
	}
	return verdict{odd: strconv.Itoa(r.status) + " " + r.code}
}

// unsent reports whether a request failed before anything of it can have arrived.
func unsent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// csrfName is what the CSRF token is called, as if it were an attribute.
const csrfName = "CSRFToken"

// attributes reads the answer of a get.
func attributes(body []byte) (attrs []history.Attr, csrf string, err error) {
	var object map[string]string
	if err := json.Unmarshal(body, &object); err != nil {
		return nil, "", err
	}
	for key, value := range object {
		if key == csrfName {
			csrf = value
			continue
		}
		attrs = append(attrs, history.Attr{Key: key, Value: value})
	}
	return attrs, csrf, nil
}

// revision reads an ETag; 0: there is none.
func revision(h http.Header) uint64 {
	rev, _ := strconv.ParseUint(strings.Trim(h.Get("ETag"), `"`), 10, 64) // what is no number is none
	return rev
}

// The cookies of the two surfaces.
const (
	fusionCookie = "id"
	mmonitCookie = "zsessionid"
)

// tokenOf returns the session's token out of a login's answer; "": there is none.
func tokenOf(h http.Header, cookie string) string {
	resp := http.Response{Header: h}
	for _, c := range resp.Cookies() {
		if c.Name == cookie {
			return c.Value
		}
	}
	return ""
}
