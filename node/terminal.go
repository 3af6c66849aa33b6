package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// isTerminal reports whether a person may be typing there.
func isTerminal(file *os.File) bool {
	_, err := unix.IoctlGetTermios(int(file.Fd()), getTermios)
	return err == nil
}

// hideInput stops the echo of what is typed, and returns what brings it back.
func hideInput(file *os.File) (restore func() error, err error) {
	before, err := unix.IoctlGetTermios(int(file.Fd()), getTermios)
	if err != nil {
		return nil, err
	}
	hidden := *before
	hidden.Lflag &^= unix.ECHO
	if err := unix.IoctlSetTermios(int(file.Fd()), setTermios, &hidden); err != nil {
		return nil, err
	}
	return func() error { return unix.IoctlSetTermios(int(file.Fd()), setTermios, before) }, nil
}
