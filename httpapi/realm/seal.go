package realm

import (
	"bytes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/chacha20poly1305"

	"cloakroom/cluster/session"
)

// sealedMember is the only member of the object that stands for a sealed secret in a stored configuration.
const sealedMember = "$sealed"

// sealedVersion opens every sealed secret; the golden test freezes the format.
const sealedVersion = "v1."

// sealer encrypts the secrets of realm configurations, so that a stolen disk, log or snapshot shows none of them.
// XChaCha20-Poly1305: its nonces are long enough to be random. What it seals is bound to the realm's type and to its
// place in the configuration, so that a sealed secret can't be moved to where it would be sent to somebody else.
//
// While the cluster's key is exchanged there are several keys. It seals under the first and opens under any.
type sealer struct {
	keys func() [][32]byte // one at least
}

func newSealer(key [32]byte) (*sealer, error) {
	return newRingSealer(func() [][32]byte { return [][32]byte{key} })
}

func newRingSealer(keys func() [][32]byte) (*sealer, error) {
	if len(keys()) == 0 {
		return nil, errors.New("prepare seal key: there is none")
	}
	return &sealer{keys}, nil
}

// cipherOf returns the cipher under a key.
func cipherOf(key [32]byte) cipher.AEAD {
	aead, err := chacha20poly1305.NewX(key[:])
	if err != nil {
		panic("BUG: prepare seal key: " + err.Error()) // its length is wrong
	}
	return aead
}

// seal returns the configuration with every secret sealed.
func (s *sealer) seal(realmType string, config []byte) ([]byte, error) {
	object, err := parseObject(config)
	if err != nil {
		return nil, err
	}
	aead := cipherOf(s.keys()[0])
	err = walkSecrets(object, "", func(path string, value any) (any, bool, error) {
		if isSealed(value) {
			return nil, false, badConfig(path + " must be given in clear: a sealed one is accepted from nobody")
		}
		plain, err := marshal(value)
		if err != nil {
			return nil, false, err
		}
		return sealOne(aead, realmType, path, plain), true, nil
	})
	if err != nil {
		return nil, err
	}
	return marshalSealed(object)
}

func sealOne(aead cipher.AEAD, realmType, path string, plain []byte) any {
	nonce := random(aead.NonceSize())
	box := aead.Seal(nonce, nonce, plain, sealContext(realmType, path))
	return map[string]any{sealedMember: sealedVersion + base64.RawStdEncoding.EncodeToString(box)}
}

func marshalSealed(object map[string]any) ([]byte, error) {
	sealed, err := marshal(object)
	if err != nil {
		return nil, err
	}
	if len(sealed) > session.MaxRealmConfig {
		return nil, session.ErrLimitRealmConfig
	}
	return sealed, nil
}

// reseal returns the stored configuration with every secret sealed under the first key; changed is false if all are.
func (s *sealer) reseal(realmType string, config []byte) (resealed []byte, changed bool, err error) {
	object, err := parseObject(config)
	if err != nil {
		return nil, false, err
	}
	keys := s.keys()
	aead := cipherOf(keys[0])
	err = walkSecrets(object, "", func(path string, value any) (any, bool, error) {
		plain, which, err := unseal(keys, realmType, path, value)
		if err != nil || which == 0 {
			return value, true, err
		}
		changed = true
		return sealOne(aead, realmType, path, plain), true, nil
	})
	if err != nil || !changed {
		return nil, false, err
	}
	resealed, err = marshalSealed(object)
	return resealed, err == nil, err
}

// open returns the configuration with every secret in clear.
func (s *sealer) open(realmType string, config []byte) ([]byte, error) {
	object, err := parseObject(config)
	if err != nil {
		return nil, err
	}
	err = walkSecrets(object, "", func(path string, value any) (any, bool, error) {
		plain, err := s.openOne(realmType, path, value)
		return plain, true, err
	})
	if err != nil {
		return nil, err
	}
	return marshal(object)
}

func (s *sealer) openOne(realmType, path string, value any) (any, error) {
	plain, _, err := unseal(s.keys(), realmType, path, value)
	if err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(plain))
	decoder.UseNumber()
	var opened any
	if err := decoder.Decode(&opened); err != nil {
		return nil, fmt.Errorf("decode %s: %w", path, err)
	}
	return opened, nil
}

// unseal opens one secret under any of the keys and says which it was.
func unseal(keys [][32]byte, realmType, path string, value any) (plain []byte, which int, err error) {
	if !isSealed(value) {
		return nil, 0, badConfig(path + " is not sealed")
	}
	text, _ := value.(map[string]any)[sealedMember].(string)
	text, known := strings.CutPrefix(text, sealedVersion)
	box, err := base64.RawStdEncoding.Strict().DecodeString(text)
	if !known || err != nil || len(box) < chacha20poly1305.NonceSizeX {
		return nil, 0, badConfig(path + " is not sealed in a way that this version knows")
	}
	nonce, box := box[:chacha20poly1305.NonceSizeX], box[chacha20poly1305.NonceSizeX:]
	for which, key := range keys {
		if plain, err := cipherOf(key).Open(nil, nonce, box, sealContext(realmType, path)); err == nil {
			return plain, which, nil
		}
	}
	return nil, 0, badConfig(path + " is sealed under a cluster key that is not in this node's --cluster-key-file, or for another place")
}

func sealContext(realmType, path string) []byte {
	return []byte("cloakroom realm config\x00" + realmType + "\x00" + path)
}

func isSealed(value any) bool {
	object, ok := value.(map[string]any)
	if !ok {
		return false
	}
	_, ok = object[sealedMember]
	return ok
}

// walkSecrets calls visit for every secret member of a configuration, at any depth, and puts what it returns in the
// member's place, or removes the member when keep is false.
func walkSecrets(object map[string]any, path string, visit func(path string, value any) (replacement any, keep bool, err error)) error {
	if strings.Count(path, ".") >= maxConfigDepth {
		return badConfig("is nested too deeply")
	}
	for name, value := range object {
		if !isSecretName(name) {
			if err := walkValue(value, path+name+".", visit); err != nil {
				return err
			}
			continue
		}
		replacement, keep, err := visit(path+name, value)
		if err != nil {
			return err
		}
		if keep {
			object[name] = replacement
		} else {
			delete(object, name)
		}
	}
	return nil
}

func walkValue(value any, path string, visit func(string, any) (any, bool, error)) error {
	switch v := value.(type) {
	case map[string]any:
		return walkSecrets(v, path, visit)
	case []any:
		for i, element := range v {
			if err := walkValue(element, fmt.Sprintf("%s%d.", path, i), visit); err != nil {
				return err
			}
		}
	}
	return nil
}

// isSecretName reports whether a member holds a secret. It goes by the end of the name, in any spelling, so that
// bindPassword, bind_password and trustStorePassword are covered without being listed.
func isSecretName(name string) bool {
	name = strings.ToLower(strings.NewReplacer("_", "", "-", "", ".", "", " ", "").Replace(name))
	for _, ending := range [...]string{"password", "passwd", "passphrase", "secret", "privatekey", "apikey", "token", "credential", "credentials"} {
		if strings.HasSuffix(name, ending) {
			return true
		}
	}
	return false
}

// marshal writes JSON with its members in order and without the escapes for HTML, which would only cost bytes.
func marshal(value any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return nil, fmt.Errorf("encode realm configuration: %w", err)
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}

// Reseal returns a stored configuration with every secret sealed under the cluster's first key, to be stored in its place.
// changed is false when nothing is to be done. After the first key has changed and before the old one is taken out, it is
// for every realm, or the realm's secrets are lost. Errors: ErrRealmConfig for one that no present key opens.
func (a *Authenticator) Reseal(realmType string, config []byte) (resealed []byte, changed bool, err error) {
	return a.sealer.reseal(realmType, config)
}

// CheckSealed tells whether every secret of a stored configuration is sealed under one of these keys: before others are
// taken away, or the realm could ask its server no more. The error names the secret.
func CheckSealed(realmType string, config []byte, keys [][32]byte) error {
	s := &sealer{keys: func() [][32]byte { return keys }}
	_, err := s.open(realmType, config)
	return err
}
