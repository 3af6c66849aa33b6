package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// ByteSize is a number of bytes, as people write one: 512MiB, 2GB, 1073741824. Zero stands for auto, where the node
// chooses by what the machine has.
type ByteSize int64

// The units of a ByteSize: powers of 1,024 by the names of IEC 80000-13, powers of 1,000 by those of the SI.
const (
	kib ByteSize = 1 << 10
	mib          = kib << 10
	gib          = mib << 10
	tib          = gib << 10

	kilo ByteSize = 1_000
	mega          = kilo * 1_000
	giga          = mega * 1_000
	tera          = giga * 1_000
)

// auto is the text of the zero ByteSize.
const auto = "auto"

// UnmarshalText reads a size. Units are told without regard to case, since nobody means millibytes. Zero is refused:
// whoever writes it may mean none, or no limit.
func (b *ByteSize) UnmarshalText(text []byte) error {
	word := strings.TrimSpace(string(text))
	if strings.EqualFold(word, auto) {
		*b = 0
		return nil
	}
	rest := strings.TrimLeft(word, "0123456789")
	number, unit := word[:len(word)-len(rest)], strings.TrimSpace(rest)
	scale, known := unitOf(unit)
	n, err := strconv.ParseInt(number, 10, 64)
	switch {
	case !known || err != nil && number == "":
		return fmt.Errorf("%q is not a size such as 512MiB, 2GB or auto", word)
	case err != nil || n > math.MaxInt64/int64(scale):
		return fmt.Errorf("%q is more than any machine has", word)
	case n == 0:
		return fmt.Errorf("%q: leave it at %s, or name a size above zero", word, auto)
	}
	*b = ByteSize(n) * scale
	return nil
}

func unitOf(name string) (scale ByteSize, known bool) {
	switch strings.ToLower(name) {
	case "", "b":
		return 1, true
	case "kib":
		return kib, true
	case "mib":
		return mib, true
	case "gib":
		return gib, true
	case "tib":
		return tib, true
	case "kb":
		return kilo, true
	case "mb":
		return mega, true
	case "gb":
		return giga, true
	case "tb":
		return tera, true
	}
	return 0, false
}

// String writes a size in the largest unit that leaves nothing over.
func (b ByteSize) String() string {
	if b == 0 {
		return auto
	}
	for _, unit := range []struct {
		scale ByteSize
		name  string
	}{{tib, "TiB"}, {tera, "TB"}, {gib, "GiB"}, {giga, "GB"}, {mib, "MiB"}, {mega, "MB"}, {kib, "KiB"}, {kilo, "kB"}} {
		if b%unit.scale == 0 {
			return strconv.FormatInt(int64(b/unit.scale), 10) + unit.name
		}
	}
	return strconv.FormatInt(int64(b), 10) + "B"
}
