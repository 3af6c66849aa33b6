package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// The load under which nodes are restarted and killed. It comes at a pace, whatever the answers take: who is late
// catches up.
const (
	rollingLookups = 1200 // a second
	rollingLogins  = 25
	leastLookups   = 1000 // that must have been made in a second, on average
	leastLogins    = 20
	rollingLookers = 48
	rollingGuests  = 24 // users who log in
	rollingTokens  = 8  // sessions that are looked up
)

// What a machine that does much else may do to the nodes before a failed request says nothing of them.
const (
	mostStill    = time.Second // that the test itself was kept from running
	mostElection = time.Second // for an election, which takes some writes to disks: requests wait for 3 s, and nodes are ready for 2
)

// rollingRealm lets in whom a proxy names: passwords are hashed at the lowest priority, and on a machine that does much
// else the test would be about that.
const (
	rollingSecret = "a-secret-of-the-proxy-of-40-characters--"
	rollingRealm  = `{"realmType":"header","name":"proxied","roleNames":[],"config":{"proxies":["127.0.0.0/8"],"secret":"` + rollingSecret +
		`","userHeader":"X-Guest","groupsHeader":"X-Guest-Groups","secretHeader":"X-Guest-Secret","ephemeralUsers":true}}`
)

// Through HAProxy as it is shipped: all three nodes are stopped in good order and started again, one after another, and
// no request fails. Then the leader is killed, and no lookup fails: logins that were under way may, and each one that is
// tried again succeeds. What was acknowledged is there in the end.
func TestRollingRestart(t *testing.T) {
	need(t, "haproxy")
	s := newSuite(t, "--trusted-proxies", "127.0.0.1/32")
	s.startAll()
	r := newRolling(s)
	r.proxy = watchHAProxy(t, s)
	stop := r.run()
	restarted := r.during("rolling restart", func() {
		for i, n := range s.nodes {
			s.stop(n)
			r.proxy.await(i, "DOWN")
			s.start(n)
			s.awaitReady(n)
			r.proxy.await(i, "UP")
		}
	})
	if restarted.lookupsFailed+restarted.loginsFailed > 0 {
		r.blame(restarted, "requests failed while nodes were restarted in good order")
	}
	leader := s.leader()
	killed := r.during("kill -9", func() {
		s.kill(s.nodes[leader])
		r.proxy.await(leader, "DOWN")
		second := time.NewTimer(3 * time.Second) // under which the others elect a leader
		<-second.C
		s.start(s.nodes[leader])
		s.awaitReady(s.nodes[leader])
		r.proxy.await(leader, "UP")
	})
	if killed.lookupsFailed+killed.retriesFailed > 0 {
		r.blame(killed, "lookups, or logins twice, failed when a node was killed")
	}
	seconds, n := time.Since(r.begun).Seconds(), r.count()
	if float64(n.lookups) < leastLookups*seconds || float64(n.logins) < leastLogins*seconds {
		t.Errorf("%d lookups and %d logins in %.1f s: less than %d and %d a second", n.lookups, n.logins, seconds, leastLookups, leastLogins)
	}
	stop()
	r.check()
}

// rolling is clients of HAProxy that look sessions up and log in.
type rolling struct {
	s      *suite
	proxy  *haproxyLog
	tokens []string // of sessions that are looked up
	begun  time.Time

	explained bool // a failure, by what the machine did

	lookups, lookupsFailed, logins, loginsFailed, retriesFailed atomic.Int64
	slowestLookup, slowestLogin                                 atomic.Int64 // nanoseconds; of a login, with its retry

	mu      sync.Mutex
	reasons map[string]int // of failures
	made    []string       // tokens of logins that were acknowledged
}

func newRolling(s *suite) *rolling {
	s.t.Helper()
	r := &rolling{s: s, reasons: map[string]int{}}
	client := s.client()
	admin := "id=" + s.login(client, s.nodes[0], "admin", suitePassword).cookie("id")
	if a := s.do(client, http.MethodPost, s.url(s.nodes[0])+"/api/realm-configs", rollingRealm, "Content-Type", "application/json", "Cookie", admin); a.StatusCode != http.StatusCreated {
		s.t.Fatalf("make the realm: %d %s", a.StatusCode, a.text)
	}
	for i := range rollingTokens {
		a := s.do(client, http.MethodPost, s.url(s.nodes[i%3])+"/api/session?realmName=proxied", "", "X-Guest", fmt.Sprint("looker", i), "X-Guest-Secret", rollingSecret)
		if a.StatusCode != http.StatusCreated {
			s.t.Fatalf("login: %d %s", a.StatusCode, a.text)
		}
		r.tokens = append(r.tokens, a.cookie("id"))
	}
	return r
}

// run keeps up the load until stop, which waits for what is under way.
func (r *rolling) run() (stop func()) {
	ctx, cancel := context.WithCancel(r.s.t.Context())
	var group sync.WaitGroup
	r.begun = time.Now()
	for i := range rollingLookers {
		group.Go(func() { r.look(ctx, i) })
	}
	for i := range rollingGuests {
		group.Go(func() { r.enter(ctx, i) })
	}
	return func() { cancel(); group.Wait() }
}

// paced calls fn at times that are so long apart, the first after a part of it, until ctx ends.
func (r *rolling) paced(ctx context.Context, apart time.Duration, worker, workers int, fn func()) {
	next := time.Now().Add(apart * time.Duration(worker) / time.Duration(workers))
	timer := time.NewTimer(time.Until(next))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		fn()
		next = next.Add(apart)
		timer.Reset(time.Until(next))
	}
}

// look looks sessions up, on a connection that is kept as long as HAProxy keeps it. Nothing is tried twice: no failure is
// hidden.
func (r *rolling) look(ctx context.Context, worker int) {
	c := &rawClient{front: r.proxy.front, from: guestAddress(worker)}
	defer c.close()
	r.paced(ctx, rollingLookers*time.Second/rollingLookups, worker, rollingLookers, func() {
		path := [...]string{"/auth/verify", "/api/session"}[r.lookups.Load()%2]
		token := r.tokens[worker%len(r.tokens)]
		begun := time.Now()
		status, _, text, err := c.do("GET " + path + " HTTP/1.1\r\nHost: cloak.example\r\nCookie: id=" + token + "\r\n\r\n")
		slower(&r.slowestLookup, time.Since(begun))
		r.lookups.Add(1)
		if err != nil || status != http.StatusOK {
			r.lookupsFailed.Add(1)
			r.note("lookup", status, text, err)
		}
	})
}

// enter logs a guest in again and again. A login that failed is tried once more, after as long as the answer says.
func (r *rolling) enter(ctx context.Context, worker int) {
	c := &rawClient{front: r.proxy.front, from: guestAddress(worker)}
	defer c.close()
	request := fmt.Sprintf("POST /api/session?realmName=proxied HTTP/1.1\r\nHost: cloak.example\r\nX-Guest: guest%d\r\nX-Guest-Secret: %s\r\nContent-Length: 0\r\n\r\n", worker, rollingSecret)
	r.paced(ctx, rollingGuests*time.Second/rollingLogins, worker, rollingGuests, func() {
		begun := time.Now()
		defer func() { slower(&r.slowestLogin, time.Since(begun)) }()
		r.logins.Add(1)
		for try := range 2 {
			status, header, text, err := c.do(request)
			if err == nil && status == http.StatusCreated {
				r.mu.Lock()
				r.made = append(r.made, (&http.Response{Header: header}).Cookies()[0].Value)
				r.mu.Unlock()
				return
			}
			r.note([...]string{"login", "second try of a login"}[try], status, text, err)
			if try > 0 {
				r.retriesFailed.Add(1)
				return
			}
			r.loginsFailed.Add(1)
			after, _ := strconv.Atoi(header.Get("Retry-After")) // none: when the proxy may be expected to know
			pause := time.NewTimer(max(time.Duration(after)*time.Second, 500*time.Millisecond))
			<-pause.C
		}
	})
}

// guestAddress is another one of this host for each client, as in life: tries are counted by address.
func guestAddress(worker int) string { return fmt.Sprintf("127.0.1.%d", worker+1) }

func slower(longest *atomic.Int64, took time.Duration) {
	for {
		before := longest.Load()
		if int64(took) <= before || longest.CompareAndSwap(before, int64(took)) {
			return
		}
	}
}

func (r *rolling) note(what string, status int, text string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reasons[fmt.Sprintf("%s: %d %.120s %v", what, status, text, err)]++
}

func (r *rolling) why() map[string]int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.reasons
}

// spell is what happened during a part of the test.
type spell struct {
	lookups, lookupsFailed, logins, loginsFailed, retriesFailed int64

	still, election time.Duration // the longest that the test stood still, and that an election took
}

func (r *rolling) count() spell {
	return spell{
		lookups: r.lookups.Load(), lookupsFailed: r.lookupsFailed.Load(), logins: r.logins.Load(),
		loginsFailed: r.loginsFailed.Load(), retriesFailed: r.retriesFailed.Load(),
	}
}

// during counts what happens while fn runs.
func (r *rolling) during(what string, fn func()) spell {
	r.s.t.Helper()
	before, begun, stood := r.count(), time.Now(), r.s.standstill()
	r.slowestLookup.Store(0)
	r.slowestLogin.Store(0)
	fn()
	after, took := r.count(), time.Since(begun)
	n := spell{
		after.lookups - before.lookups, after.lookupsFailed - before.lookupsFailed, after.logins - before.logins,
		after.loginsFailed - before.loginsFailed, after.retriesFailed - before.retriesFailed,
		stood(), r.s.longestElection(begun),
	}
	r.s.t.Logf("%s, %v: %d lookups (%.0f/s), %d failed, the slowest took %v; %d logins (%.1f/s), %d failed, %d of these twice, the slowest took %v",
		what, took.Round(time.Millisecond), n.lookups, float64(n.lookups)/took.Seconds(), n.lookupsFailed, time.Duration(r.slowestLookup.Load()).Round(time.Millisecond),
		n.logins, float64(n.logins)/took.Seconds(), n.loginsFailed, n.retriesFailed, time.Duration(r.slowestLogin.Load()).Round(time.Millisecond))
	return n
}

// blame fails the test for what a spell has shown, unless the machine explains it.
func (r *rolling) blame(n spell, what string) {
	r.s.t.Helper()
	if n.still < mostStill && n.election < mostElection {
		r.s.t.Errorf("%s: %v", what, r.why())
		return
	}
	r.explained = true
	r.s.t.Logf("%s, on a machine that stood still for %v and took %v for an election: %v", what, n.still, n.election, r.why())
}

// longestElection returns how long the nodes have taken since then for an election, once a majority was for it, by their logs.
func (s *suite) longestElection(since time.Time) (longest time.Duration) {
	s.t.Helper()
	var begun, led []time.Time
	for _, n := range s.nodes {
		for _, line := range s.lines(n) {
			stamp, said, _ := strings.Cut(strings.TrimPrefix(line, "time="), " ")
			at, err := time.Parse(time.RFC3339, stamp)
			switch {
			case err != nil || at.Before(since):
			case strings.Contains(said, "starting election") && strings.Contains(said, "pre-vote successful"):
				begun = append(begun, at)
			case strings.Contains(said, "this node leads"):
				led = append(led, at)
			}
		}
	}
	slices.SortFunc(begun, time.Time.Compare)
	slices.SortFunc(led, time.Time.Compare)
	for _, end := range led {
		others := slices.IndexFunc(begun, end.Before)
		if others < 0 {
			others = len(begun)
		}
		if others > 0 {
			longest = max(longest, end.Sub(begun[0]))
		}
		begun = begun[others:]
	}
	return longest
}

// check looks at the whole, when nothing is under way any more: what was acknowledged holds.
func (r *rolling) check() {
	r.s.t.Helper()
	if n := r.retriesFailed.Load(); n > 0 && !r.explained {
		r.s.t.Errorf("%d logins failed twice: %v", n, r.why())
	}
	client := r.s.client()
	for i, token := range r.made {
		if a := r.s.do(client, http.MethodGet, r.s.url(r.s.nodes[i%3])+"/auth/verify", "", "Cookie", "id="+token, "X-No-Touch", "1"); a.StatusCode != http.StatusOK {
			r.s.t.Fatalf("a login that was acknowledged is not known to %s: %d %s", r.s.nodes[i%3].name, a.StatusCode, a.text)
		}
	}
	admin := "id=" + r.s.login(client, r.s.nodes[0], "admin", suitePassword).cookie("id")
	if a := r.s.do(client, http.MethodGet, r.s.url(r.s.nodes[0])+"/api/sessions?user=guest5&realm=proxied&limit=1", "", "Cookie", admin); !strings.Contains(a.text, `"`+guestAddress(5)+`"`) {
		r.s.t.Errorf("the session of guest5 did not come from %s: %s", guestAddress(5), a.text)
	}
}

// rawClient sends requests as they are, each once, on one connection after another.
type rawClient struct {
	front, from string
	conn        net.Conn
	reader      *bufio.Reader
}

func (c *rawClient) do(request string) (status int, header http.Header, text string, err error) {
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	if c.conn == nil {
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(c.from)}, Timeout: patience}
		if c.conn, err = dialer.Dial("tcp", c.front); err != nil {
			return 0, nil, "", err
		}
		c.reader = bufio.NewReader(c.conn)
	}
	if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return 0, nil, "", err
	}
	if _, err := io.WriteString(c.conn, request); err != nil {
		return 0, nil, "", err
	}
	res, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return 0, nil, "", err
	}
	body, err := io.ReadAll(res.Body)
	if err == nil && res.Close {
		c.close()
	}
	return res.StatusCode, res.Header, string(body), err
}

func (c *rawClient) close() {
	if c.conn != nil {
		_ = c.conn.Close() // its last answer has been read, or there is none
		c.conn = nil
	}
}

// stop ends a node in good order.
func (s *suite) stop(n *suiteNode) {
	s.t.Helper()
	if err := n.process.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatalf("stop %s: %v", n.name, err)
	}
	select {
	case <-n.ended:
	case <-time.After(patience):
		s.t.Fatalf("%s does not stop", n.name)
	}
	if code := n.process.ProcessState.ExitCode(); code != 0 {
		s.t.Errorf("%s was stopped in good order and ended with %d", n.name, code)
	}
	n.process = nil
}

// leader returns which node leads.
func (s *suite) leader() int {
	s.t.Helper()
	leader := -1
	client := s.client()
	s.until("a leader", func() bool {
		a, err := s.try(s.t.Context(), client, http.MethodGet, "http://"+s.nodes[0].operator+"/cluster", "")
		for i, n := range s.nodes {
			if err == nil && strings.Contains(a.text, `"leader":"`+n.name+`"`) {
				leader = i
			}
		}
		return leader >= 0
	})
	return leader
}
