package main

import "testing"

func TestByteSize(t *testing.T) {
	for text, want := range map[string]ByteSize{
		"auto": 0, "AUTO": 0, " auto ": 0,
		"1": 1, "1B": 1, "1073741824": 1 << 30, "007KiB": 7 << 10,
		"512MiB": 512 << 20, "512mib": 512 << 20, "512 MiB": 512 << 20, "2GB": 2_000_000_000, "3kB": 3000, "4GiB": 4 << 30,
		"5TB": 5_000_000_000_000, "6TiB": 6 << 40, "1MB": 1_000_000,
		"8388607TiB": 8388607 << 40, "9223372036854775807": 1<<63 - 1,
	} {
		got := ByteSize(-1)
		if err := got.UnmarshalText([]byte(text)); err != nil || got != want {
			t.Errorf("%q is %d, %v", text, got, err)
			continue
		}
		again := ByteSize(-1)
		if err := again.UnmarshalText([]byte(got.String())); err != nil || again != want {
			t.Errorf("%q is written as %q, which is %d, %v", text, got, again, err)
		}
	}
	for _, text := range []string{
		"", "0", "0MiB", "-1", "+1", "1.5GB", "1e9", "MiB", "512M", "512Mi", "1 000", "1,000", "GB1", "1KiBB", "auto1", "unlimited",
		"8388608TiB", "9223372036854775808", "99999999999999999999", "0x10",
	} {
		var got ByteSize
		if err := got.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is taken for %v", text, got)
		}
	}
	for size, want := range map[ByteSize]string{
		0: "auto", 1: "1B", 1500: "1500B", 2000: "2kB", 2048: "2KiB", 512 << 20: "512MiB", 1_000_000_000: "1GB", 1 << 40: "1TiB",
	} {
		if size.String() != want {
			t.Errorf("%d is written as %q, not %q", int64(size), size, want)
		}
	}
}
