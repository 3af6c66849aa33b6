package simulation

import "cloakroom/cluster/lease"

// clock is a node's own clock. It runs at a rate between 1 and 1+ε and stands still together with its machine at most.
type clock struct {
	base  lease.Time // what it showed at since
	since micros
	rate  float64
	still bool
}

func (c *clock) read(now micros) lease.Time {
	if c.still {
		return c.base
	}
	return c.base + lease.Time(float64(now-c.since)*c.rate*1000)
}

func (c *clock) setRate(now micros, rate float64) {
	c.base, c.since, c.rate = c.read(now), now, rate
}

func (c *clock) stop(now micros) {
	c.base, c.since, c.still = c.read(now), now, true
}

func (c *clock) goOn(now micros) {
	if c.still {
		c.since, c.still = now, false
	}
}

// until returns how long it takes at most until the clock shows t: no rate is below 1.
func (c *clock) until(now micros, t lease.Time) micros {
	return max(0, micros((t-c.read(now)+999)/1000))
}
