//go:build unix

package transport

import "syscall"

// oneRead says whether there are intakes here.
const oneRead = true

func readSocket(fd uintptr, b []byte) (int, error) { return syscall.Read(int(fd), b) }
