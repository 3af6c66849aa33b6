package load

import (
	"context"
	"errors"
	"io"
	"os"
	"syscall"
)

// Failure is how often calls failed in one way.
type Failure struct {
	Count   int64  `json:"count"`
	Example string `json:"example"` // the first error seen, cut
}

const (
	labelOther   = "other"
	labelUnsent  = "unsent"
	labelTimeout = "timeout"
	labelRefused = "refused"
	labelReset   = "reset"
	labelEOF     = "eof"
)

// labelOf names the kind of a failure: the error's own label if it has one, else what happened to the connection.
func labelOf(err error) string {
	var labelled interface{ Label() string }
	var timeout interface{ Timeout() bool } // net.Error asks for more than some libraries' errors have
	switch {
	case errors.As(err, &labelled):
		return labelled.Label()
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return labelTimeout
	case errors.As(err, &timeout) && timeout.Timeout():
		return labelTimeout
	case errors.Is(err, syscall.ECONNREFUSED):
		return labelRefused
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return labelReset
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return labelEOF
	}
	return labelOther
}
