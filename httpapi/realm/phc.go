package realm

import (
	"encoding/base64"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"

	"cloakroom/cluster/session"
)

// costs are argon2id's parameters.
type costs struct {
	memory      uint32 // KiB
	iterations  uint32
	parallelism uint8
}

// withinBounds reports whether a hash of these costs may run at all.
func (c costs) withinBounds() bool {
	return c.parallelism >= 1 && c.parallelism <= MaxParallelism &&
		c.iterations >= 1 && c.iterations <= MaxIterations &&
		c.memory >= minMemoryPerLane*uint32(c.parallelism) && c.memory <= MaxMemory &&
		uint64(c.memory)*uint64(c.iterations) <= maxWork
}

// phc is a stored password hash, in the PHC string format:
// $argon2id$v=19$m=19456,t=2,p=1$<salt>$<hash>, both in unpadded base64.
type phc struct {
	costs
	salt []byte
	hash []byte
}

// encode returns the string form.
func (p phc) encode() session.Secret {
	var b strings.Builder
	b.WriteString("$argon2id$v=")
	b.WriteString(strconv.Itoa(argon2.Version))
	b.WriteString("$m=")
	b.WriteString(strconv.FormatUint(uint64(p.memory), 10))
	b.WriteString(",t=")
	b.WriteString(strconv.FormatUint(uint64(p.iterations), 10))
	b.WriteString(",p=")
	b.WriteString(strconv.FormatUint(uint64(p.parallelism), 10))
	b.WriteByte('$')
	b.WriteString(base64.RawStdEncoding.EncodeToString(p.salt))
	b.WriteByte('$')
	b.WriteString(base64.RawStdEncoding.EncodeToString(p.hash))
	return session.Secret(b.String())
}

// parsePHC reads a string form. It is strict: only what encode writes is accepted, and only costs within bounds, for
// a record could come from an import or a restored backup. The error is errHashFormat.
func parsePHC(stored session.Secret) (phc, error) {
	if len(stored) > maxPHC {
		return phc{}, errHashFormat
	}
	fields := strings.Split(string(stored), "$")
	if len(fields) != 6 || fields[0] != "" || fields[1] != "argon2id" || fields[2] != "v="+strconv.Itoa(argon2.Version) {
		return phc{}, errHashFormat
	}
	p := phc{}
	var ok bool
	if p.costs, ok = parseCosts(fields[3]); !ok || !p.withinBounds() {
		return phc{}, errHashFormat
	}
	if p.salt, ok = parseBytes(fields[4], minSalt, maxSalt); !ok {
		return phc{}, errHashFormat
	}
	if p.hash, ok = parseBytes(fields[5], minHash, maxHash); !ok {
		return phc{}, errHashFormat
	}
	return p, nil
}

func parseCosts(text string) (costs, bool) {
	fields := strings.Split(text, ",")
	if len(fields) != 3 {
		return costs{}, false
	}
	memory, ok1 := parseCost(fields[0], "m=", 32)
	iterations, ok2 := parseCost(fields[1], "t=", 32)
	parallelism, ok3 := parseCost(fields[2], "p=", 8)
	return costs{uint32(memory), uint32(iterations), uint8(parallelism)}, ok1 && ok2 && ok3
}

// parseCost reads one positive number in its only spelling: no sign, no leading zero.
func parseCost(field, name string, bits int) (uint64, bool) {
	digits, ok := strings.CutPrefix(field, name)
	if !ok || digits == "" || digits[0] < '1' || digits[0] > '9' {
		return 0, false
	}
	n, err := strconv.ParseUint(digits, 10, bits)
	return n, err == nil
}

func parseBytes(text string, least, most int) ([]byte, bool) {
	// The decoder skips line breaks, which would give one hash several spellings.
	if strings.ContainsAny(text, "\r\n") {
		return nil, false
	}
	b, err := base64.RawStdEncoding.Strict().DecodeString(text)
	return b, err == nil && len(b) >= least && len(b) <= most
}
