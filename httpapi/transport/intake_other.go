//go:build !unix

package transport

import "errors"

const oneRead = false

func readSocket(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }
