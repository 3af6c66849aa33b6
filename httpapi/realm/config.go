package realm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"

	"cloakroom/cluster/session"
)

// ldapConfig is the part of a realm's configuration that a login needs. Unknown members are kept and ignored: clients
// send some that belong to other versions.
type ldapConfig struct {
	AutoCreateUsers bool        `json:"autoCreateUsers"` // make a record at a user's first login
	EphemeralUsers  bool        `json:"ephemeralUsers"`  // let users in who have no record, and make none
	Host            string      `json:"host"`            // name or address, without brackets
	SSL             bool        `json:"ssl"`             // TLS from the first byte, certificate verified
	Port            int         `json:"port"`            // 0: 636 with ssl, else 389
	Timeout         jsonTimeout `json:"timeout"`         // for one login; 0: defaultTimeout
	Login           struct {
		BindDNTemplate string `json:"bindDnTemplate"` // {} stands for the user name
	} `json:"login"`
}

// jsonTimeout is a duration, written "2.5s" or as a number of milliseconds.
type jsonTimeout time.Duration

// UnmarshalJSON accepts both spellings.
func (t *jsonTimeout) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err == nil {
		d, err := time.ParseDuration(text)
		*t = jsonTimeout(d)
		return err
	}
	var milliseconds int32
	if err := json.Unmarshal(b, &milliseconds); err != nil {
		return fmt.Errorf("timeout: %w", err)
	}
	*t = jsonTimeout(time.Duration(milliseconds) * time.Millisecond)
	return nil
}

// ValidateConfig checks a realm's configuration as an administrator gave it. Errors: ErrUnknownRealmType,
// ErrRealmConfig with the reason as its message, session.ErrLimitRealmConfig.
func ValidateConfig(realmType string, config []byte) error {
	switch realmType {
	case TypeNative:
		_, err := parseObject(config)
		return err
	case TypeLDAP:
		_, err := parseLDAPConfig(config)
		return err
	}
	return ErrUnknownRealmType
}

// PublicConfig returns a stored configuration without its secrets, sealed or not.
func PublicConfig(config []byte) ([]byte, error) {
	object, err := parseObject(config)
	if err != nil {
		return nil, err
	}
	err = walkSecrets(object, "", func(string, any) (any, bool, error) { return nil, false, nil })
	if err != nil {
		return nil, err
	}
	return marshal(object)
}

// parseObject reads a configuration as what it must be, one JSON object; nothing at all is an empty one.
func parseObject(config []byte) (map[string]any, error) {
	if len(config) > session.MaxRealmConfig {
		return nil, session.ErrLimitRealmConfig
	}
	if len(bytes.TrimSpace(config)) == 0 {
		return map[string]any{}, nil
	}
	decoder := json.NewDecoder(bytes.NewReader(config))
	decoder.UseNumber()
	var object map[string]any
	if err := decoder.Decode(&object); err != nil || object == nil {
		return nil, badConfig("must be a JSON object")
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, badConfig("must be one JSON object and nothing after it")
	}
	return object, nil
}

// parseLDAPConfig reads and checks what a login needs, with defaults filled in. It goes by way of parseObject, so that
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
	if c.Port == 0 {
		c.Port = 389
		if c.SSL {
			c.Port = 636
		}
	}
	if c.Timeout == 0 {
		c.Timeout = jsonTimeout(defaultTimeout)
	}
	switch timeout := time.Duration(c.Timeout); {
	case !validHost(c.Host):
		return c, badConfig("host must be a host name or an IP address, without scheme, port or brackets")
	case c.Port < 1 || c.Port > 65535:
		return c, badConfig("port must be 1 to 65535")
	case timeout < minTimeout || timeout > maxTimeout:
		return c, badConfig(fmt.Sprintf("timeout must be %v to %v", minTimeout, maxTimeout))
	case !validBindTemplate(c.Login.BindDNTemplate):
		return c, badConfig(`login.bindDnTemplate must be a DN with {} for the user name, as "uid={},ou=users,dc=example,dc=com", or {}@domain`)
	}
	return c, nil
}

// jsonReason says what was wrong without quoting the input, which may hold secrets.
func jsonReason(err error) string {
	if wrongType, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return wrongType.Field + " has the wrong type"
	}
	return "broken JSON or a bad timeout"
}

func (c ldapConfig) address() string { return net.JoinHostPort(c.Host, strconv.Itoa(c.Port)) }

// bindName is the name to bind as. Escaping keeps a user name inside the one value that the template gives it: no
// name can add an RDN and so bind as somebody else (RFC 4514, 2.4).
func (c ldapConfig) bindName(username string) string {
	return strings.ReplaceAll(c.Login.BindDNTemplate, "{}", ldap.EscapeDN(username))
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
