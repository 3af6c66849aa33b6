package realm

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"cloakroom/cluster/session"
)

// ldapConfig is a realm's configuration as logins and re-checks use it. Unknown members are kept and ignored: clients
// send some that belong to other versions.
type ldapConfig struct {
	AutoCreateUsers bool                `json:"autoCreateUsers"` // make a record at a user's first login
	EphemeralUsers  bool                `json:"ephemeralUsers"`  // let users in who have no record, and make none
	Host            string              `json:"host"`            // name or address, without brackets
	Hosts           []string            `json:"hosts"`           // further servers, tried in this order; each with or without a port
	SSL             bool                `json:"ssl"`             // TLS from the first byte, certificate verified
	StartTLS        bool                `json:"startTls"`        // TLS before anything else is said, certificate verified
	CACertificates  string              `json:"caCertificates"`  // PEM; trusted beside the system's
	Port            int                 `json:"port"`            // 0: 636 with ssl, else 389
	Timeout         jsonTimeout         `json:"timeout"`         // for one login or re-check in all; 0: defaultTimeout
	ConnectTimeout  jsonTimeout         `json:"connectTimeout"`  // for one connection, TLS included; 0: defaultConnectTimeout
	Login           ldapLogin           `json:"login"`
	Groups          ldapGroups          `json:"groups"`
	GroupRoles      map[string][]string `json:"groupRoles"` // by a group's DN, or by its cn wherever it is
	Recheck         struct {
		Force bool `json:"force"` // the re-check ends sessions however many users are gone: see Verdict.Forced
	} `json:"recheck"`

	servers []ldapAddress
	extraCA []*x509.Certificate
	rules   []groupRule
}

// ldapLogin says how a user name becomes an entry of the directory: by a template or by a search.
type ldapLogin struct {
	BindDNTemplate    string       `json:"bindDnTemplate"` // {} stands for the user name
	Search            *ldapSearch  `json:"search"`
	BindDN            string       `json:"bindDn"` // the service account, which reads entries
	BindPassword      configSecret `json:"bindPassword"`
	UsernameAttribute string       `json:"usernameAttribute"` // must hold the user name; "": the one that the search's filter compares
	DisabledFilter    string       `json:"disabledFilter"`    // entries that it matches may not log in
}

// ldapGroups says where a user's groups are written: in an attribute of the user's entry, or in entries of their own.
type ldapGroups struct {
	Attribute string      `json:"attribute"`
	Search    *ldapSearch `json:"search"`
}

// ldapAddress is one server.
type ldapAddress struct {
	host string // what its certificate must be for
	dial string // host:port
}

// configSecret is a secret member: text as an administrator gave it, or its sealed form.
type configSecret struct {
	Text  session.Secret // exported, since fmt asks only such fields how they want to be printed
	given bool
}

// UnmarshalJSON accepts a string, or what seal makes of one.
func (s *configSecret) UnmarshalJSON(b []byte) error {
	var value any
	if err := json.Unmarshal(b, &value); err != nil {
		return err
	}
	text, ok := value.(string)
	if !ok && !isSealed(value) {
		return &json.UnmarshalTypeError{Value: "value", Type: reflect.TypeFor[string](), Field: "a secret"}
	}
	s.Text, s.given = session.Secret(text), !ok || text != ""
	return nil
}

// parseLDAPConfig reads and checks a configuration, with defaults filled in. It goes by way of parseObject, so that
// a member given twice means here what it means in the stored form.
func parseLDAPConfig(config []byte) (ldapConfig, error) {
	var c ldapConfig
	object, err := parseObject(config)
	if err != nil {
		return c, err
	}
	plain, err := marshal(object)
	if err != nil {
		return c, err
	}
	if err := json.Unmarshal(plain, &c); err != nil {
		return c, badConfig("is not of the shape of an ldap realm: " + jsonReason(err))
	}
	for _, check := range []func() error{c.checkServers, c.checkTimes, c.checkTLS, c.checkLogin, c.checkAccount, c.checkGroups} {
		if err := check(); err != nil {
			return c, err
		}
	}
	return c, nil
}

func (c *ldapConfig) checkServers() error {
	if c.Port == 0 {
		c.Port = 389
		if c.SSL {
			c.Port = 636
		}
	}
	if c.Port < 1 || c.Port > 65535 {
		return badConfig("port must be 1 to 65535")
	}
	if !validHost(c.Host) {
		return badConfig("host must be a host name or an IP address, without scheme, port or brackets")
	}
	if len(c.Hosts) >= maxServers {
		return badConfig(fmt.Sprintf("hosts: a realm has at most %d servers", maxServers))
	}
	c.servers = []ldapAddress{{c.Host, net.JoinHostPort(c.Host, strconv.Itoa(c.Port))}}
	for _, text := range c.Hosts {
		host, port := text, strconv.Itoa(c.Port)
		if !validHost(text) {
			var err error
			if host, port, err = net.SplitHostPort(text); err != nil || !validHost(host) {
				return badConfig("hosts must be host names or IP addresses, each with or without :port")
			}
			if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
				return badConfig("hosts: a port must be 1 to 65535")
			}
		}
		c.servers = append(c.servers, ldapAddress{host, net.JoinHostPort(host, port)})
	}
	return nil
}

func (c *ldapConfig) checkTimes() error {
	if c.Timeout == 0 {
		c.Timeout = jsonTimeout(defaultTimeout)
	}
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = min(jsonTimeout(defaultConnectTimeout), c.Timeout)
	}
	switch whole, connect := time.Duration(c.Timeout), time.Duration(c.ConnectTimeout); {
	case whole < minTimeout || whole > maxTimeout:
		return badConfig(fmt.Sprintf("timeout must be %v to %v", minTimeout, maxTimeout))
	case connect < minTimeout || connect > whole:
		return badConfig(fmt.Sprintf("connectTimeout must be %v to the timeout", minTimeout))
	}
	return nil
}

func (c *ldapConfig) checkTLS() error {
	switch {
	case c.SSL && c.StartTLS:
		return badConfig("ssl and startTls exclude each other: ssl is TLS from the first byte")
	case c.CACertificates != "" && !c.SSL && !c.StartTLS:
		return badConfig("caCertificates needs ssl or startTls: without TLS no certificate is checked")
	}
	for rest := []byte(c.CACertificates); len(strings.TrimSpace(string(rest))) > 0; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil || block.Type != "CERTIFICATE" {
			return badConfig("caCertificates must be certificates in PEM and nothing else")
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return badConfig("caCertificates: one of them is not a valid certificate")
		}
		c.extraCA = append(c.extraCA, certificate)
	}
	return nil
}

func (c *ldapConfig) checkLogin() error {
	login := &c.Login
	switch {
	case login.Search != nil && login.BindDNTemplate != "":
		return badConfig("login: give bindDnTemplate or search, not both")
	case login.Search == nil && !validBindTemplate(login.BindDNTemplate):
		return badConfig(`login.bindDnTemplate must be a DN with {} for the user name, as "uid={},ou=users,dc=example,dc=com", or {}@domain; or give login.search`)
	case login.Search == nil && login.UsernameAttribute != "":
		return badConfig("login.usernameAttribute belongs to login.search: a template names the attribute itself")
	case login.Search != nil:
		if err := login.Search.check("login.search"); err != nil {
			return err
		}
		return login.checkFilter()
	}
	return nil
}

// checkFilter wants every {} of the login filter to be compared for equality. A substring match would find entries that
// are not named by what the user typed.
func (l *ldapLogin) checkFilter() error {
	places := placedName.FindAllStringSubmatch(l.Search.Filter, -1)
	if len(places) == 0 || len(places) != strings.Count(l.Search.Filter, "{}") || strings.Contains(l.Search.Filter, "{dn}") {
		return badConfig(`login.search.filter must compare an attribute with the user name, as "(&(objectClass=person)(uid={}))"`)
	}
	if l.UsernameAttribute == "" {
		for _, place := range places {
			if !strings.EqualFold(place[1], places[0][1]) {
				return badConfig("login.usernameAttribute must be given where the filter compares the user name with several attributes: a user would have several names")
			}
		}
		l.UsernameAttribute = places[0][1]
	}
	if !attributeName.MatchString(l.UsernameAttribute) {
		return badConfig("login.usernameAttribute must be the name of an attribute")
	}
	return nil
}

// attributeName is the short form of an attribute's name (RFC 4512, 1.4).
var attributeName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9-]{0,63}$`)

// checkAccount checks the service account, and that there is one where one is needed.
func (c *ldapConfig) checkAccount() error {
	login := &c.Login
	named := login.BindDN != ""
	readsEntries := named || login.DisabledFilter != "" || c.Groups != ldapGroups{}
	switch {
	case named != login.BindPassword.given:
		return badConfig("login.bindDn and login.bindPassword belong together; a change of the configuration must repeat the password")
	case login.Search != nil && !named:
		return badConfig("login.search needs a service account: login.bindDn and login.bindPassword")
	case named && !validAccount(login.BindDN):
		return badConfig("login.bindDn must be a DN, or user@domain")
	case len(login.BindPassword.Text) > MaxPassword:
		return badConfig("login.bindPassword is too long")
	case login.DisabledFilter != "" && !validFilter(login.DisabledFilter):
		return badConfig("login.disabledFilter must be an LDAP filter in parentheses")
	case readsEntries && login.Search == nil && c.usersBase() == "":
		return badConfig("a service account, groups and disabledFilter need login.search, or a bindDnTemplate that is a DN below a fixed one")
	}
	return nil
}

// usersBase is the fixed DN above all users of a template; "" where there is none.
func (c *ldapConfig) usersBase() string {
	const mark = "user-name-goes-here"
	dn, err := ldap.ParseDN(strings.ReplaceAll(c.Login.BindDNTemplate, "{}", mark))
	if err != nil {
		return ""
	}
	for i, rdn := range slices.Backward(dn.RDNs) {
		if strings.Contains(rdn.String(), mark) {
			return (&ldap.DN{RDNs: dn.RDNs[i+1:]}).String()
		}
	}
	return ""
}

func (c *ldapConfig) checkGroups() error {
	switch groups := &c.Groups; {
	case groups.Attribute != "" && groups.Search != nil:
		return badConfig("groups: give attribute or search, not both")
	case groups.Attribute != "" && !attributeName.MatchString(groups.Attribute):
		return badConfig("groups.attribute must be the name of an attribute, as memberOf")
	case groups.Search != nil:
		if err := groups.Search.check("groups.search"); err != nil {
			return err
		}
		if !strings.Contains(groups.Search.Filter, "{}") && !strings.Contains(groups.Search.Filter, "{dn}") {
			return badConfig(`groups.search.filter must hold {dn} or {}, as "(member={dn})"`)
		}
	case groups.Attribute == "" && len(c.GroupRoles) > 0:
		return badConfig("groupRoles needs groups.attribute or groups.search")
	}
	var err error
	c.rules, err = parseGroupRoles(c.GroupRoles)
	return err
}

// bindName is the name to bind as. Escaping keeps a user name inside the one value that the template gives it: no
// name can add an RDN and so bind as somebody else (RFC 4514, 2.4).
func (c *ldapConfig) bindName(username string) string {
	return strings.ReplaceAll(c.Login.BindDNTemplate, "{}", ldap.EscapeDN(username))
}

// hasAccount reports whether there is a service account.
func (c *ldapConfig) hasAccount() bool { return c.Login.BindDN != "" }

// readsEntry reports whether a login by the template needs more of the user's entry than a bind.
func (c *ldapConfig) readsEntry() bool {
	return c.hasAccount() || c.Login.DisabledFilter != "" || c.Groups != ldapGroups{}
}

func validHost(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	if host == "" || len(host) > 253 || host[0] == '-' || host[0] == '.' {
		return false
	}
	for i := range len(host) {
		switch c := host[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}

// validBindTemplate accepts a DN, or the form user@domain that Active Directory takes in its place.
func validBindTemplate(template string) bool {
	if len(template) > maxBindTemplate || !strings.Contains(template, "{}") {
		return false
	}
	if domain, ok := strings.CutPrefix(template, "{}@"); ok {
		return validHost(domain)
	}
	dn, err := ldap.ParseDN(strings.ReplaceAll(template, "{}", "user"))
	return err == nil && len(dn.RDNs) > 0
}

// validAccount accepts a DN, or user@domain.
func validAccount(name string) bool {
	if len(name) > maxBindTemplate {
		return false
	}
	if user, domain, ok := strings.Cut(name, "@"); ok && session.ValidName(user) {
		return validHost(domain)
	}
	dn, err := ldap.ParseDN(name)
	return err == nil && len(dn.RDNs) > 0
}
