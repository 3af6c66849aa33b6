package httpapi

import (
	"bytes"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/valyala/fasthttp"

	"cloakroom/cluster"
	"cloakroom/cluster/session"
	"cloakroom/httpapi/access"
	"cloakroom/httpapi/credential"
	"cloakroom/httpapi/exchange"
	"cloakroom/httpapi/realm"
)

// The token endpoint (RFC 6749): a user's name and password in, a bearer token out, which is a session's token and so can
// be revoked. There are no clients in the standard's sense: Basic is the user.

// oauth is the token endpoint.
type oauth struct {
	callers *access.Callers
	logins  *access.Logins
}

// Codes of RFC 6749, 5.2, and one of 4.1.2.1 for what the standard leaves to HTTP.
const (
	oauthInvalidRequest   = "invalid_request"
	oauthInvalidClient    = "invalid_client"
	oauthInvalidGrant     = "invalid_grant"
	oauthInvalidScope     = "invalid_scope"
	oauthUnsupportedGrant = "unsupported_grant_type"
	oauthUnavailable      = "temporarily_unavailable"
)

var (
	errOAuthQuery  = &session.Error{Code: "bad-request-parameters", Message: "parameters belong into the body, where no log keeps them: the query has realmName only"}
	errOAuthForm   = &session.Error{Code: "bad-request-parameters", Message: "the body must be sent as application/x-www-form-urlencoded, in UTF-8"}
	errOAuthFields = &session.Error{Code: "bad-request-parameters", Message: "grant_type password needs username and password"}
	errOAuthBasic  = &session.Error{Code: realm.ErrInvalidCredentials.Code, Message: "user name and password are expected in the header Authorization, as Basic"}
)

// oauthToken is POST /oauth2/token?realmName=R.
func (o *oauth) oauthToken(rc *exchange.Request) error {
	// An application's secrets are in the answer (RFC 6749, 5.1); Cache-Control is there already.
	rc.Ctx.Response.Header.Set(fasthttp.HeaderPragma, "no-cache")
	p, inBody, err := oauthLogin(rc)
	if err != nil {
		return o.failOAuth(rc, err, inBody)
	}
	p.Realm, p.Surface = exchange.RealmParam(rc), session.SurfaceBearer
	t, err := o.logins.Login(rc, p)
	if err != nil {
		return o.failOAuth(rc, err, inBody)
	}
	return exchange.WriteJSON(rc, fasthttp.StatusOK, struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int64  `json:"expires_in"` // seconds, if it is not used
		TokenType   string `json:"token_type"`
	}{t.BearerText(), int64(min(o.logins.Idle, o.logins.Lifetime).Seconds()), "Bearer"})
}

// oauthLogin reads whose token is asked for: from the header Authorization, or with grant_type=password from the body.
func oauthLogin(rc *exchange.Request) (p access.LoginParams, inBody bool, err error) {
	form, err := oauthForm(rc)
	if err != nil {
		return p, false, err
	}
	grant := form["grant_type"]
	encoded, authorized := exchange.BasicHeader(rc)
	inBody = grant == "password" && len(rc.Authorization) == 0
	switch {
	case grant != "" && grant != "client_credentials" && grant != "password":
		return p, false, exchange.ErrGrantType
	case form["scope"] != "":
		return p, false, exchange.ErrScope
	case !inBody && (form["username"] != "" || form["password"] != "" || form["client_secret"] != ""):
		return p, false, realm.ErrTwoCredentials
	case inBody && (form["username"] == "" || form["password"] == ""):
		return p, false, errOAuthFields
	case inBody:
		return access.LoginParams{Username: form["username"], Password: form["password"]}, true, nil
	case !authorized:
		return p, false, errOAuthBasic
	}
	p.Username, p.Password, err = exchange.BasicLogin(encoded)
	return p, false, err
}

// oauthForm reads the parameters of the body. Each may be there once (RFC 6749, 3.2), and none of them in the query
// (2.3.1), which logs and histories keep.
func oauthForm(rc *exchange.Request) (map[string]string, error) {
	query, err := exchange.ParseArgs(nil, rc.Ctx.URI().QueryString())
	if err != nil {
		return nil, err
	}
	for _, a := range query {
		switch a.Name {
		case "grant_type", "username", "password", "client_id", "client_secret", "scope", "token":
			return nil, errOAuthQuery
		}
	}
	body := rc.Ctx.PostBody()
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, nil
	}
	if !exchange.IsForm(rc.Ctx.Request.Header.ContentType()) {
		return nil, errOAuthForm
	}
	list, err := exchange.ParseArgs(nil, body)
	if err != nil {
		return nil, err
	}
	form := map[string]string{}
	for _, a := range list {
		if _, twice := form[a.Name]; twice {
			return nil, exchange.ErrOAuthTwice
		}
		if !utf8.ValidString(a.Name) || !utf8.ValidString(a.Value) {
			return nil, errOAuthForm
		}
		form[a.Name] = a.Value
	}
	return form, nil
}

// oauthRevoke is POST /oauth2/revoke (RFC 7009): the end of a bearer token, for whoever has it. What is no such token, or
// none any more, is answered as if it had been (2.2). A cookie's token is none: it is not handed to scripts.
func (o *oauth) oauthRevoke(rc *exchange.Request) error {
	form, err := oauthForm(rc)
	if err == nil && form["token"] == "" {
		err = exchange.MissingField("token is required")
	}
	if err != nil {
		return o.failOAuth(rc, err, false)
	}
	key, _ := credential.ParseBearer([]byte(form["token"])) // the zero key is no session's
	_, err = o.callers.LookupOf(rc, credential.Cookie{Bearer: true, Key: key}, access.DecisionLevel)
	switch {
	case err == nil:
		err = o.logins.Logout(rc, key)
	case rc.Weakened && exchange.IsSignedOut(err): // it may be one of those that this node has not heard of
		err = cluster.ErrCutOff
	}
	if err != nil && !exchange.IsSignedOut(err) {
		return o.failOAuth(rc, err, false)
	}
	return nil
}

// failOAuth answers an error in the standard's form, which the API's own is added to. inBody says that the credentials
// were: the standard has another code for those.
func (o *oauth) failOAuth(rc *exchange.Request, err error, inBody bool) error {
	status, e, _ := exchange.AnswerOf(err)
	code := oauthInvalidRequest
	switch {
	case status == fasthttp.StatusInternalServerError:
		return err // to be logged
	case errors.Is(err, exchange.ErrGrantType):
		code = oauthUnsupportedGrant
	case errors.Is(err, exchange.ErrScope):
		code = oauthInvalidScope
	case status == fasthttp.StatusUnauthorized && inBody:
		status, code = fasthttp.StatusBadRequest, oauthInvalidGrant
	case status == fasthttp.StatusUnauthorized:
		code = oauthInvalidClient
		rc.Ctx.Response.Header.Set(fasthttp.HeaderWWWAuthenticate, `Basic realm="cloakroom", charset="UTF-8"`)
	case status == fasthttp.StatusTooManyRequests || status == fasthttp.StatusServiceUnavailable:
		code = oauthUnavailable
	}
	exchange.WriteError(rc.Ctx, status, e, rc.RequestID(), exchange.WaitOf(err))
	b := exchange.AppendString([]byte(`{"code":`), e.Code)
	b = exchange.AppendString(append(b, `,"error":`...), code)
	b = exchange.AppendString(append(b, `,"error_description":`...), strings.ReplaceAll(e.Message, `"`, "'")) // its alphabet has no quotes
	b = exchange.AppendString(append(b, `,"message":`...), e.Message)
	rc.Ctx.SetBody(append(b, '}'))
	return nil
}
