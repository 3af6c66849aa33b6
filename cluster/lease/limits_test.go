package lease

import (
	"math/big"
	"math/rand/v2"
	"testing"
	"time"
)

func testConfig(self string) Config {
	return Config{Self: self, Duration: time.Second, Rate: 10, Margin: 20 * time.Millisecond, MaxLag: 100}
}

func TestDurations(t *testing.T) {
	c := testConfig("n1")
	for name, d := range map[string]struct{ got, want time.Duration }{
		"period":              {c.period(), 200 * time.Millisecond},
		"rest":                {c.rest(), 250 * time.Millisecond},
		"retry":               {c.retry(), 50 * time.Millisecond},
		"again":               {c.again(), 50 * time.Millisecond},
		"window":              {c.window(), 970 * time.Millisecond},
		"own":                 {c.own(), 980 * time.Millisecond},
		"outlast":             {c.outlast(), 1030*time.Millisecond + 1},
		"slower, rounded":     {Config{Rate: 10}.slower(101), 99},  // 99.99
		"faster, rounded":     {Config{Rate: 10}.faster(101), 103}, // 102.01
		"slower, exact":       {Config{Rate: 10}.slower(100), 99},
		"faster, exact":       {Config{Rate: 10}.faster(100), 101},
		"retry of short ones": {Config{Duration: 100 * time.Millisecond}.retry(), 10 * time.Millisecond},
	} {
		if d.got != d.want {
			t.Errorf("%s: %d instead of %d", name, d.got, d.want)
		}
	}
}

// TestUntil compares with the formula in exact numbers: s + remaining(1−ε) − M − 1, and less than one below it.
func TestUntil(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		c := Config{
			Duration: MinDuration + time.Duration(r.Int64N(int64(MaxDuration-MinDuration)+1)),
			Rate:     r.IntN(MaxRate + 1),
			Margin:   time.Duration(r.Int64N(int64(time.Second))),
		}
		g := Grant{Remaining: time.Duration(r.Int64N(int64(c.Duration)) + 1), Echo: Time(r.Int64N(1 << 60))}
		exact := new(big.Rat).Mul(big.NewRat(int64(g.Remaining), 1), big.NewRat(int64(1000-c.Rate), 1000))
		exact.Add(exact, big.NewRat(int64(g.Echo)-int64(c.Margin)-1, 1))
		got := big.NewRat(int64(c.until(g)), 1)
		if got.Cmp(exact) > 0 || got.Cmp(exact.Sub(exact, big.NewRat(1, 1))) <= 0 {
			t.Fatalf("%+v, %+v: until %v", c, g, c.until(g))
		}
	}
}

// TestUntilIsBounded: a leader that was configured otherwise does not get past what this node's successors wait for.
func TestUntilIsBounded(t *testing.T) {
	c := testConfig("n1")
	if got, most := c.until(Grant{Remaining: 1 << 62}), Time(970*time.Millisecond)-1; got != most {
		t.Errorf("until %d", got)
	}
}

// clock is a clock in exact numbers. It runs at a rate, and stands still once for a while.
type clock struct {
	rate  *big.Rat
	still Time // from this moment, in true time
	pause time.Duration
}

// after returns in true time when the clock has moved on by d since a true moment.
func (c clock) after(from *big.Rat, d time.Duration) *big.Rat {
	at := new(big.Rat).Add(from, new(big.Rat).Quo(big.NewRat(int64(d), 1), c.rate))
	still := big.NewRat(int64(c.still), 1)
	if from.Cmp(still) <= 0 && at.Cmp(still) >= 0 {
		at.Add(at, big.NewRat(int64(c.pause), 1))
	}
	return at
}

// TestAllowances: a lease ends on the clock of its holder before the one who granted it takes it as ended, and before a
// new leader does that knows only when it stored the command from which the lease is counted. The clocks of all three
// differ in rate by as much as they may, and each of the first two stands still for as long as it may.
func TestAllowances(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 20_000 {
		c := Config{
			Duration: time.Duration(1+r.IntN(1000)) * time.Millisecond,
			Rate:     r.IntN(MaxRate + 1),
		}
		c.Margin = time.Duration(r.Int64N(int64(c.Duration/4) + 1))
		if c.window() <= 0 {
			continue
		}
		leader, holder, next := someClock(r, c), someClock(r, c), someClock(r, c)
		next.pause = 0
		// In true time: the command is proposed at 0 and stored at once, the report is sent, the leader reads its clock.
		zero := new(big.Rat)
		age := time.Duration(r.Int64N(int64(c.window()))) // of the anchor, on the leader's clock
		granted := leader.after(zero, age)
		sent := granted // the latest that it can have been sent
		if leader.still < Time(age) && r.IntN(2) == 0 {
			leader.pause = 0 // or it is the holder's turn
		}
		g := Grant{Remaining: c.Duration - age}
		if c.until(g) <= 0 {
			continue
		}
		ends := holder.after(sent, time.Duration(c.until(g)))
		if thaws := next.after(zero, c.outlast()); ends.Cmp(thaws) >= 0 {
			t.Fatalf("%+v: the lease ends at %v, the next leader begins at %v", c, ends.FloatString(0), thaws.FloatString(0))
		}
		leader.pause = 0 // while it stands still it takes nothing as ended
		if over := leader.after(granted, g.Remaining); ends.Cmp(over) >= 0 {
			t.Fatalf("%+v: the lease ends at %v, its leader goes on at %v", c, ends.FloatString(0), over.FloatString(0))
		}
	}
}

// someClock runs at a rate from 1 to 1+ε, mostly at either end.
func someClock(r *rand.Rand, c Config) clock {
	rate := 1000 + []int{0, c.Rate, r.IntN(c.Rate + 1)}[r.IntN(3)]
	return clock{rate: big.NewRat(int64(rate), 1000), still: Time(r.Int64N(int64(c.Duration))), pause: c.Margin}
}

func TestValidate(t *testing.T) {
	good := testConfig("n1")
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for name, spoil := range map[string]func(*Config){
		"no id":              func(c *Config) { c.Self = "" },
		"no duration":        func(c *Config) { c.Duration = 0 },
		"a long duration":    func(c *Config) { c.Duration = MaxDuration + 1 },
		"a negative rate":    func(c *Config) { c.Rate = -1 },
		"a wild rate":        func(c *Config) { c.Rate = MaxRate + 1 },
		"a negative margin":  func(c *Config) { c.Margin = -1 },
		"a margin too large": func(c *Config) { c.Margin = c.window() - c.period() - c.rest() + c.Margin },
	} {
		bad := good
		spoil(&bad)
		if bad.Validate() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("New took a configuration that is not valid")
		}
	}()
	New(Config{}, 1, 1)
}
