package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"

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
	data, info, err := readSmall(path, limit)
	if err != nil {
		return "", &usageError{err}
	}
	if exposed(info) {
		if _, err := fmt.Fprintf(a.stderr, "cloakroom: warning: others on this machine can read %s: chmod 600 it\n", path); err != nil {
			return "", fmt.Errorf("warn: %w", err)
		}
	}
	return string(data), nil
}

// exposed reports whether more users than need be may get at a file. Where it is another user's, this process reads it by
// its group: so a pod gets its secrets.
func exposed(info fs.FileInfo) bool {
	beyond := info.Mode().Perm() & 0o077
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && int(stat.Uid) != os.Geteuid() && inGroup(int(stat.Gid)) {
		beyond &^= 0o040
	}
	return beyond != 0
}

// inGroup reports whether a group is one of this process.
func inGroup(gid int) bool {
	groups, err := os.Getgroups()
	return gid == os.Getegid() || err == nil && slices.Contains(groups, gid)
}

// readSmall reads a file, or a pipe, of at most limit bytes.
func readSmall(path string, limit int64) (data []byte, info fs.FileInfo, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if info, err = f.Stat(); err != nil {
		return nil, nil, err
	}
	data, err = io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, nil, err
	}
	if int64(len(data)) > limit {
		return nil, nil, fmt.Errorf("%s: at most %d bytes are expected", path, limit)
	}
	return data, info, nil
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
