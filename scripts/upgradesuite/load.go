package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// load is clients of all nodes. They know nothing of the upgrade: a request that gets no answer, or one that says to try
// elsewhere, is made once more, at the next node.
type load struct {
	c      *cluster
	client *http.Client
	admin  string // cookie
	next   atomic.Uint64

	lookups, retried, logins, logouts, changes atomic.Int64
	slowest                                    atomic.Int64 // of a lookup with its second try, in nanoseconds

	mu       sync.Mutex
	live     []string // cookies of sessions that were acknowledged and not ended
	ended    []string // of those whose end was acknowledged
	failures map[string]int
}

func newLoad(ctx context.Context, c *cluster) (*load, error) {
	l := &load{c: c, failures: map[string]int{}, client: &http.Client{
		Timeout: requestTimeout, Transport: &http.Transport{MaxIdleConnsPerHost: lookers + comers + 1},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	err := await(ctx, settleWithin, "the first user can log in", func() (bool, error) {
		var err error
		l.admin, err = l.login(ctx, 0, "admin")
		return err == nil, nil
	})
	if err != nil {
		return nil, err
	}
	for i := range users {
		body := fmt.Sprintf(`{"username":"guest%d","password":%q,"roleNames":[]}`, i, adminPassword)
		if s, text, err := l.send(ctx, c.nodes[0], http.MethodPost, "/api/users", l.admin, body); err != nil || s != http.StatusCreated {
			return nil, fmt.Errorf("make a user: %d %s %w", s, text, err)
		}
	}
	for i := range 2 * users { // something to look up, and something that must not come back
		cookie, err := l.login(ctx, i, guest(i))
		if err != nil {
			return nil, err
		}
		if i%2 == 0 {
			l.live = append(l.live, cookie)
			continue
		}
		if s, text, err := l.send(ctx, c.nodes[0], http.MethodDelete, "/api/session", cookie, ""); err != nil || s != http.StatusNoContent {
			return nil, fmt.Errorf("log out: %d %s %w", s, text, err)
		}
		l.ended = append(l.ended, cookie)
	}
	return l, nil
}

func guest(i int) string { return fmt.Sprint("guest", i%users) }

// run keeps up the load until stop, which waits for what is under way.
func (l *load) run(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	for range lookers {
		group.Go(func() { every(ctx, lookEvery, func(n int) { l.look(n) }) })
	}
	for i := range comers {
		group.Go(func() { every(ctx, comeEvery, func(n int) { l.come(comers*n + i) }) })
	}
	group.Go(func() { every(ctx, adminEvery, l.administer) })
	return func() { cancel(); group.Wait() }
}

func every(ctx context.Context, d time.Duration, fn func(n int)) {
	tick := time.NewTicker(d)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-tick.C:
			fn(n)
		case <-ctx.Done():
			return
		}
	}
}

// send makes one request of one node. The answer is never printed where it could hold a cookie.
func (l *load) send(ctx context.Context, n *node, method, path, cookie, body string) (status int, text string, err error) {
	req, err := http.NewRequestWithContext(ctx, method, n.api+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Content-Type", "application/json")
	if cookie != "" {
		req.Header.Set("Cookie", "id="+cookie)
	}
	resp, err := l.client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }() // read to its end
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, "", err
	}
	for _, c := range resp.Cookies() {
		if c.Name == "id" && resp.StatusCode == http.StatusCreated {
			return resp.StatusCode, c.Value, nil
		}
	}
	return resp.StatusCode, string(b), nil
}

// elsewhere reports whether an answer leaves it to another node, and what was asked for surely has not happened.
func elsewhere(status int, text string, err error) bool {
	if err != nil {
		return true // for a lookup; what changes something asks further
	}
	var e struct{ Code string }
	_ = json.Unmarshal([]byte(text), &e) // what is no error has no code
	return status == http.StatusServiceUnavailable || e.Code == "revision-moved"
}

// twice makes a request at the next node in turn, and once more at the one after it.
func (l *load) twice(method, path, cookie, body string) (status int, text string, err error) {
	at := int(l.next.Add(1))
	status, text, err = l.send(context.Background(), l.c.nodes[at%nodes], method, path, cookie, body)
	if !elsewhere(status, text, err) {
		return status, text, err
	}
	l.retried.Add(1)
	return l.send(context.Background(), l.c.nodes[(at+1)%nodes], method, path, cookie, body)
}

// look looks up a session that is live, and one that has ended.
func (l *load) look(n int) {
	l.mu.Lock()
	cookies := [2]string{l.live[n%len(l.live)], l.ended[(n*7)%len(l.ended)]}
	l.mu.Unlock()
	for i, want := range [2]int{http.StatusOK, http.StatusUnauthorized} {
		begun := time.Now()
		status, text, err := l.twice(http.MethodGet, "/api/session", cookies[i], "")
		l.slowest.Store(max(l.slowest.Load(), int64(time.Since(begun)))) // near enough
		l.lookups.Add(1)
		if err != nil || status != want {
			l.fail("lookup", status, text, err)
		}
	}
}

func (l *load) login(ctx context.Context, at int, user string) (cookie string, err error) {
	body := fmt.Sprintf(`{"username":%q,"password":%q}`, user, adminPassword)
	status, text, err := l.send(ctx, l.c.nodes[at%nodes], http.MethodPost, "/api/session", "", body)
	if err != nil || status != http.StatusCreated {
		return "", fmt.Errorf("log %s in: %d %.200s %w", user, status, text, err)
	}
	return text, nil
}

// come logs in at one node and out at another. A login whose answer was lost is nobody's session. A logout without an
// answer is asked for again, until there is one.
func (l *load) come(n int) {
	body := fmt.Sprintf(`{"username":%q,"password":%q}`, guest(n), adminPassword)
	status, cookie, err := l.twice(http.MethodPost, "/api/session", "", body)
	if err != nil || status != http.StatusCreated {
		l.fail("login", status, cookie, err)
		return
	}
	l.logins.Add(1)
	if n%4 == 0 { // not all, or the user would come to the limit of sessions
		l.mu.Lock()
		defer l.mu.Unlock()
		l.live = append(l.live, cookie)
		return
	}
	status, text, err := l.twice(http.MethodDelete, "/api/session", cookie, "")
	if err != nil || status != http.StatusNoContent && status != http.StatusUnauthorized { // the first try may have ended it
		l.fail("logout", status, text, err)
		return
	}
	l.logouts.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = append(l.ended, cookie)
}

// administer makes a role and deletes it.
func (l *load) administer(n int) {
	name := fmt.Sprint("role", n)
	status, text, err := l.twice(http.MethodPost, "/api/roles", l.admin, fmt.Sprintf(`{"name":%q}`, name))
	if err != nil || status != http.StatusCreated && status != http.StatusConflict { // the first try may have made it
		l.fail("make a role", status, text, err)
		return
	}
	l.changes.Add(1)
}

func (l *load) fail(what string, status int, text string, err error) {
	if status < http.StatusBadRequest && err == nil {
		text = "" // it may hold what is nobody's business
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failures[fmt.Sprintf("%s: %d %.160s %v", what, status, strings.TrimSpace(text), err)]++
}

// verdict says what went wrong, and looks at every session on every node.
func (l *load) verdict(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.failures) > 0 {
		return fmt.Errorf("requests failed: %v", l.failures)
	}
	for _, n := range l.c.nodes {
		for want, cookies := range map[int][]string{http.StatusOK: append(l.live, l.admin), http.StatusUnauthorized: l.ended} {
			for i, cookie := range cookies {
				if status, _, err := l.send(ctx, n, http.MethodGet, "/api/session", cookie, ""); err != nil || status != want {
					return fmt.Errorf("%s answers for session %d of %d: %d %w, want %d", n.name, i, len(cookies), status, err, want)
				}
			}
		}
	}
	return nil
}
