//go:build !linux

package peer

import (
	"fmt"
	"io"
	"net"
	"syscall"
)

func childAttr() *syscall.SysProcAttr {
	return nil
}

// takePort chooses a port that was free a moment ago.
func takePort() (addr string, chosen, held io.Closer, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, nil, fmt.Errorf("find a free port: %w", err)
	}
	return l.Addr().String(), l, nil, nil
}
