package propose

import (
	"encoding/binary"
	"fmt"

	"cloakroom/cluster/session"
)

// frameVersion is the first byte of both frames.
const frameVersion = 1

// encodeBatch writes version, count and the commands in their stored form.
func encodeBatch(calls []*call) ([]byte, error) {
	buf := binary.AppendUvarint([]byte{frameVersion}, uint64(len(calls)))
	for _, c := range calls {
		var err error
		if buf, err = session.AppendCommand(buf, c.cmd); err != nil {
			return nil, fmt.Errorf("encode batch: %w", err)
		}
	}
	return buf, nil
}

// decodeBatch reads what encodeBatch wrote. The leader decodes every command before it enters the log: bytes that
// Apply could not read would stop every node.
func decodeBatch(body []byte) ([]*call, error) {
	rest, count, err := header(body, MaxEntryCommands)
	if err != nil {
		return nil, err
	}
	calls := make([]*call, 0, count)
	for range count {
		cmd, tail, err := session.DecodeCommand(rest)
		if err != nil {
			return nil, fmt.Errorf("decode batch: %w", err)
		}
		size := len(rest) - len(tail)
		if size > MaxCommandBytes {
			return nil, ErrTooLarge
		}
		calls, rest = append(calls, newCall(cmd, size)), tail
	}
	if len(rest) != 0 {
		return nil, session.ErrBadEncoding
	}
	return calls, nil
}

// encodeOutcomes writes version, count and for each command its verdict and, when applied, its index and its result.
//
// A denied command travels as an applied one of index 0, which no entry has. So it needs no new version of the frame:
// a node that knows nothing of denials takes the error for the machine's, waits for no entry, and hands it to the
// caller. A new verdict it could not read, and would have to call the outcome of the whole batch unknown.
func encodeOutcomes(outcomes []outcome) ([]byte, error) {
	buf := binary.AppendUvarint([]byte{frameVersion}, uint64(len(outcomes)))
	for _, o := range outcomes {
		if o.verdict == denied {
			o.verdict, o.index = applied, 0
		}
		buf = append(buf, byte(o.verdict))
		if o.verdict == applied {
			buf = binary.AppendUvarint(buf, o.index)
			var err error
			if buf, err = session.AppendResult(buf, o.result); err != nil {
				return nil, fmt.Errorf("encode outcomes: %w", err)
			}
		}
	}
	return buf, nil
}

func decodeOutcomes(body []byte, want int) ([]outcome, error) {
	rest, count, err := header(body, MaxEntryCommands)
	if err != nil {
		return nil, err
	}
	if count != want {
		return nil, session.ErrBadEncoding
	}
	outcomes := make([]outcome, 0, count)
	for range count {
		if len(rest) == 0 {
			return nil, session.ErrBadEncoding
		}
		o := outcome{verdict: verdict(rest[0])}
		rest = rest[1:]
		switch o.verdict {
		case notAppended, unknown, overloaded:
		case applied:
			var n int
			if o.index, n = binary.Uvarint(rest); n <= 0 {
				return nil, session.ErrBadEncoding
			}
			if o.result, rest, err = session.DecodeResult(rest[n:]); err != nil {
				return nil, fmt.Errorf("decode outcomes: %w", err)
			}
			if o.index == 0 {
				if o.result.Err == nil {
					return nil, session.ErrBadEncoding
				}
				o.verdict = denied
			}
		default:
			return nil, session.ErrBadEncoding
		}
		outcomes = append(outcomes, o)
	}
	if len(rest) != 0 {
		return nil, session.ErrBadEncoding
	}
	return outcomes, nil
}

func header(body []byte, limit int) (rest []byte, count int, err error) {
	if len(body) == 0 || body[0] != frameVersion {
		return nil, 0, session.ErrBadEncoding
	}
	n, used := binary.Uvarint(body[1:])
	if used <= 0 || n > uint64(limit) {
		return nil, 0, session.ErrBadEncoding
	}
	return body[1+used:], int(n), nil
}
