package simulation

import "math/bits"

// members is a set of nodes.
type members uint8

func (m members) has(i int) bool { return m>>i&1 == 1 }
func (m *members) add(i int)     { *m |= 1 << i }
func (m *members) drop(i int)    { *m &^= 1 << i }
func (m members) count() int     { return bits.OnesCount8(uint8(m)) }

// config is a configuration of the cluster.
type config struct {
	voters, others members
}

func (c config) all() members   { return c.voters | c.others }
func (c config) has(i int) bool { return c.all().has(i) }

// majority reports whether some nodes decide.
func (c config) majority(of members) bool { return 2*(of&c.voters).count() > c.voters.count() }
