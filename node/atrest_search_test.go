package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// contents returns the files of the data directory and the node's log. A snapshot is there as it lies on the disk, and
// what it says when it is unpacked.
func (a *atRest) contents() map[string][]byte {
	a.t.Helper()
	files := map[string][]byte{}
	read := func(path string) {
		b, err := os.ReadFile(path)
		if err != nil {
			a.t.Fatal(err)
		}
		files[path] = b
		if filepath.Base(path) == "state.bin" && b[0] == 1 {
			files[path+" unpacked"] = unpackSnapshot(a.t, b)
		}
	}
	err := filepath.WalkDir(a.dataDir(a.node), func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			read(path)
		}
		return err
	})
	if err != nil {
		a.t.Fatal(err)
	}
	if len(files) < 4 {
		a.t.Fatalf("%d files in the data directory", len(files))
	}
	read(a.node.log)
	return files
}

func unpackSnapshot(t testing.TB, b []byte) []byte {
	t.Helper()
	r, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	plain, err := r.DecodeAll(b[1:], nil)
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

// search returns the files that hold a text in any form.
func search(files map[string][]byte, text string) (where []string) {
	forms := formsOf(text)
	for path, b := range files {
		if slices.ContainsFunc(forms, func(form []byte) bool { return bytes.Contains(b, form) }) {
			where = append(where, path)
		}
	}
	return where
}

func (a *atRest) clean(when string) {
	a.t.Helper()
	files := a.contents()
	for what, text := range a.secrets {
		for _, form := range formsOf(text) {
			for path, b := range files {
				if bytes.Contains(b, form) {
					a.t.Errorf("%s, %s is in %s as %q", when, what, path, form)
				}
			}
		}
	}
}

// allFound shows that clean would have found each.
func (a *atRest) allFound(when, path string) {
	a.t.Helper()
	files := a.contents()
	for what, text := range a.secrets {
		if where := search(files, text); !slices.ContainsFunc(where, func(w string) bool { return strings.HasPrefix(w, path) }) {
			a.t.Errorf("%s, the planted %s is not found in %s: the search shows nothing", when, what, path)
		}
	}
	if where := search(files, a.node.name); !slices.Contains(where, a.node.log) {
		a.t.Error("the log is not searched")
	}
}

// formsOf returns what a secret may look like in a file: itself, in hex, in base64 wherever it begins in there; and so
// the bytes that it stands for.
func formsOf(text string) (forms [][]byte) {
	text = strings.TrimSpace(text)
	add := func(b []byte) {
		forms = append(forms, b, []byte(hex.EncodeToString(b)), bytes.ToUpper([]byte(hex.EncodeToString(b))))
		for shift := range 3 {
			shifted := append(make([]byte, shift), b...)
			begin, end := (shift*8+5)/6, (len(shifted)*8)/6 // the characters that are this secret's alone
			for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
				forms = append(forms, []byte(encoding.EncodeToString(shifted)[begin:end]))
			}
		}
	}
	add([]byte(text))
	if raw, err := hex.DecodeString(strings.ReplaceAll(text, "-", "")); err == nil {
		add(raw)
	}
	for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.RawURLEncoding} {
		if raw, err := encoding.DecodeString(text); err == nil {
			add(raw)
		}
	}
	return forms
}

// TestFormsOf: a secret is found in each of its forms.
func TestFormsOf(t *testing.T) {
	const token = "416925d6-6d26-4afd-b31d-ced61714d287"
	raw, err := hex.DecodeString(strings.ReplaceAll(token, "-", ""))
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range [][]byte{[]byte(token), raw} {
		for _, form := range []string{
			string(b), hex.EncodeToString(b), strings.ToUpper(hex.EncodeToString(b)),
			base64.StdEncoding.EncodeToString(b), base64.URLEncoding.EncodeToString(b), base64.StdEncoding.EncodeToString(append([]byte("x"), b...)),
			base64.URLEncoding.EncodeToString([]byte("xy" + string(b) + "z")), base64.StdEncoding.EncodeToString([]byte("xyz" + string(b) + "z")),
		} {
			if !slices.ContainsFunc(formsOf(token), func(f []byte) bool { return strings.Contains("before"+form+"behind", string(f)) }) {
				t.Errorf("not found: %q", form)
			}
		}
	}
	for _, form := range formsOf(token) {
		if len(form) < 12 {
			t.Errorf("%q is found anywhere", form)
		}
	}
}
