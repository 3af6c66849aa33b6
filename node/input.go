package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"cloakroom/httpapi/realm"
)

// errNoPassword is an input that ended before the password.
var errNoPassword = errors.New("no password was given")

// lineReader reads lines of bounded length from standard input, asking for them if a person sits there.
type lineReader struct {
	in     io.Reader
	buf    *bufio.Reader
	prompt io.Writer
}

func (a *app) input() *lineReader {
	if a.lines == nil {
		a.lines = &lineReader{in: a.stdin, buf: bufio.NewReaderSize(a.stdin, realm.MaxPassword+2), prompt: a.stderr}
	}
	return a.lines
}

// password reads one line without showing it. On a terminal it asks first, and with confirm asks twice.
func (r *lineReader) password(what string, confirm bool) (string, error) {
	file, _ := r.in.(*os.File)
	if file == nil || !isTerminal(file) {
		return r.line()
	}
	first, err := r.hidden(file, what+": ")
	if err != nil || !confirm {
		return first, err
	}
	second, err := r.hidden(file, what+" again: ")
	if err != nil {
		return "", err
	}
	if first != second {
		return "", usagef("the two passwords differ")
	}
	return first, nil
}

func (r *lineReader) hidden(file *os.File, prompt string) (line string, err error) {
	if _, err := io.WriteString(r.prompt, prompt); err != nil {
		return "", fmt.Errorf("ask for a password: %w", err)
	}
	restore, err := hideInput(file)
	if err != nil {
		return "", fmt.Errorf("hide the password: %w", err)
	}
	defer func() { err = errors.Join(err, restore()) }()
	line, err = r.line()
	_, nlErr := io.WriteString(r.prompt, "\n")
	return line, errors.Join(err, nlErr)
}

func (r *lineReader) line() (string, error) {
	line, err := r.buf.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return "", usagef("a password has at most %d bytes", realm.MaxPassword)
	case err != nil && !errors.Is(err, io.EOF):
		return "", fmt.Errorf("read a password: %w", err)
	}
	return checkPassword(string(line))
}

// secretFile reads a file that holds one secret, and says so if others can read it. Its errors are wrong use.
func (a *app) secretFile(path string, limit int64) (string, error) {
	data, mode, err := readSmall(path, limit)
	if err != nil {
		return "", &usageError{err}
	}
	if mode.Perm()&0o077 != 0 {
		if _, err := fmt.Fprintf(a.stderr, "cloakroom: warning: others on this machine can read %s: chmod 600 it\n", path); err != nil {
			return "", fmt.Errorf("warn: %w", err)
		}
	}
	return string(data), nil
}

// readSmall reads a file, or a pipe, of at most limit bytes.
func readSmall(path string, limit int64) (data []byte, mode fs.FileMode, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	data, err = io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, 0, err
	}
	if int64(len(data)) > limit {
		return nil, 0, fmt.Errorf("%s: at most %d bytes are expected", path, limit)
	}
	return data, info.Mode(), nil
}

// passwordFile reads a password from the first line of a file.
func (a *app) passwordFile(path string) (string, error) {
	text, err := a.secretFile(path, realm.MaxPassword)
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(text, "\n")
	return checkPassword(line)
}

func checkPassword(line string) (string, error) {
	password := strings.TrimRight(line, "\r\n")
	if password == "" {
		return "", &usageError{errNoPassword}
	}
	return password, nil
}
