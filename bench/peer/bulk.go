package peer

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"time"

	"cloakroom/bench/load"
)

// Bulk is a peer that answers about many sessions in one call.
type Bulk interface {
	Bulk(tokens int) (load.Open, error)
}

var _ Bulk = (*Redis)(nil)

// Callers returns logins of n users that may check tokens: the product bounds how many each of them may check a second. A
// caller who is no administrator can make no users, and has its own login only.
func (s *Service) Callers(ctx context.Context, n int) ([]string, error) {
	if len(s.made) == 0 {
		return []string{s.maker}, nil
	}
	callers := []string{s.maker}
	for len(callers) < n {
		caller, err := s.makeCaller(ctx)
		if err != nil {
			return nil, err
		}
		callers = append(callers, caller)
	}
	return callers, nil
}

// VerifyBulk returns workers that ask about so many random sessions in one call, each as one of the callers. A call is good if
// all of them are.
func (s *Service) VerifyBulk(sessions *Sessions, callers []string, tokens int) load.Open {
	return func(_ context.Context, worker int) (load.Caller, error) {
		target := s.Targets[worker%len(s.Targets)]
		return &verifyCaller{
			conn: NewConn(target, s.Timeout), sessions: sessions, rng: newRand(worker), tokens: tokens,
			head: "POST /api/sessions/verify HTTP/1.1\r\nHost: " + target.Host +
				"\r\nContent-Type: application/json\r\nCookie: id=" + callers[worker%len(callers)] + "\r\nContent-Length: ",
		}, nil
	}
}

type verifyCaller struct {
	conn     *Conn
	sessions *Sessions
	rng      *rand.Rand
	tokens   int
	head     string
	buf      []byte
	body     []byte
}

var _ load.Caller = (*verifyCaller)(nil)

// Call implements load.Caller.
func (c *verifyCaller) Call(ctx context.Context) error {
	c.body = append(c.body[:0], `{"tokens":[`...)
	for i := range c.tokens {
		if i > 0 {
			c.body = append(c.body, ',')
		}
		c.body = append(c.body, '"')
		c.body = append(c.body, c.sessions.Token(c.rng.IntN(c.sessions.Len()))...)
		c.body = append(c.body, '"')
	}
	c.body = append(c.body, `]}`...)
	c.buf = append(c.buf[:0], c.head...)
	c.buf = strconv.AppendInt(c.buf, int64(len(c.body)), 10)
	c.buf = append(c.buf, "\r\n\r\n"...)
	c.buf = append(c.buf, c.body...)
	answer, err := c.conn.Do(ctx, c.buf)
	if err != nil {
		return throttled(err)
	}
	if good := bytes.Count(answer.Body(), []byte(`"active":true`)); good != c.tokens {
		return &wrongAnswer{want: fmt.Sprintf("%d active sessions", c.tokens), got: strconv.Itoa(good)}
	}
	return nil
}

// Close implements load.Caller.
func (c *verifyCaller) Close() error { return c.conn.Close() }

// ErrThrottled is a caller that has had as many tokens checked as the product lets it.
var ErrThrottled = errors.New("the caller has reached its limit of tokens checked a second")

func throttled(err error) error {
	if status, ok := errors.AsType[*StatusError](err); ok && status.Code == http.StatusTooManyRequests {
		return errors.Join(err, ErrThrottled)
	}
	return err
}

// Bulk implements Bulk by MGET, over connections of its own: the client library would cost more than the server.
func (r *Redis) Bulk(tokens int) (load.Open, error) {
	return func(ctx context.Context, worker int) (load.Caller, error) {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", r.addr)
		if err != nil {
			return nil, fmt.Errorf("connect: %w", err)
		}
		return &mgetCaller{conn: conn, reader: bufio.NewReaderSize(conn, 64<<10), keys: r.keys, rng: newRand(worker), tokens: tokens}, nil
	}, nil
}

type mgetCaller struct {
	conn   net.Conn
	reader *bufio.Reader
	keys   *Sessions
	rng    *rand.Rand
	tokens int
	buf    []byte
}

var _ load.Caller = (*mgetCaller)(nil)

// Call implements load.Caller.
func (c *mgetCaller) Call(context.Context) error {
	c.buf = append(c.buf[:0], '*')
	c.buf = strconv.AppendInt(c.buf, int64(c.tokens)+1, 10)
	c.buf = append(c.buf, "\r\n$4\r\nMGET\r\n"...)
	for range c.tokens {
		key := c.keys.Token(c.rng.IntN(c.keys.Len()))
		c.buf = append(c.buf, '$')
		c.buf = strconv.AppendInt(c.buf, int64(len(key)), 10)
		c.buf = append(c.buf, "\r\n"...)
		c.buf = append(c.buf, key...)
		c.buf = append(c.buf, "\r\n"...)
	}
	if err := c.conn.SetDeadline(time.Now().Add(CallTimeout)); err != nil {
		return fmt.Errorf("set deadline: %w", err)
	}
	if _, err := c.conn.Write(c.buf); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	return readValues(c.reader, c.tokens)
}

// readValues reads an array of that many values, each of ValueBytes bytes (RESP).
func readValues(r *bufio.Reader, want int) error {
	n, err := readNumber(r, '*')
	if err != nil {
		return err
	}
	if n != want {
		return &wrongAnswer{want: strconv.Itoa(want) + " values", got: strconv.Itoa(n)}
	}
	for range want {
		size, err := readNumber(r, '$')
		if err != nil {
			return err
		}
		if size != ValueBytes {
			return &wrongAnswer{want: strconv.Itoa(ValueBytes) + " bytes", got: strconv.Itoa(size)}
		}
		if _, err := r.Discard(size + len("\r\n")); err != nil {
			return fmt.Errorf("receive: %w", err)
		}
	}
	return nil
}

// readNumber reads a line that is a number behind a sign.
func readNumber(r *bufio.Reader, sign byte) (int, error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return 0, fmt.Errorf("receive: %w", err)
	}
	line = bytes.TrimRight(line, "\r\n")
	if len(line) == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	if line[0] != sign {
		return 0, &wrongAnswer{want: string(sign), got: string(line)}
	}
	n, err := strconv.Atoi(string(line[1:]))
	if err != nil {
		return 0, fmt.Errorf("receive: %w", err)
	}
	return n, nil
}

// Close implements load.Caller.
func (c *mgetCaller) Close() error { return c.conn.Close() }
