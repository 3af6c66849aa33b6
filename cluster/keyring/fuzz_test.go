package keyring

import (
	"encoding/base64"
	"testing"
)

func decode(t testing.TB, text string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// FuzzParse: no file makes a reader panic, and what is taken can be written and read again.
func FuzzParse(f *testing.F) {
	f.Add([]byte("# comment\nMDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE= one\n"))
	f.Add([]byte("\r\n#\nMDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=#x"))
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, err := Parse(text)
		if err != nil {
			return
		}
		var again []byte
		for _, k := range keys {
			again = append(append(again, k.Encode()...), '\n')
		}
		if len(again) > MaxFile {
			return
		}
		same, err := Parse(again)
		if err != nil || len(same) != len(keys) {
			t.Fatalf("%d keys, read again %d: %v", len(keys), len(same), err)
		}
		for i := range keys {
			if same[i].ID() != keys[i].ID() {
				t.Fatalf("key %d is another", i)
			}
		}
	})
}
