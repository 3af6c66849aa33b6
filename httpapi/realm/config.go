package realm

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"cloakroom/cluster/session"
)

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
	case TypeHeader:
		_, err := parseHeaderConfig(config)
		return err
	case TypeJWT:
		_, err := parseJWTConfig(config)
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

// jsonReason says what was wrong without quoting the input, which may hold secrets.
func jsonReason(err error) string {
	if wrongType, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return wrongType.Field + " has the wrong type"
	}
	return "broken JSON or a bad timeout"
}
