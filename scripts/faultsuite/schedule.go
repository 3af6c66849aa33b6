//go:build linux

package main

import (
	"math/rand/v2"
	"slices"
)

// sequence is the faults of a run, in their order.
type sequence interface{ next() step }

var (
	_ sequence = (*deck)(nil)
	_ sequence = (*script)(nil)
)

// step is one fault, or two at once.
type step []fault

// pairEvery says that every so many steps two faults come at once.
const pairEvery = 4

// deck deals faults at random, each kind once before any comes again.
type deck struct {
	random *rand.Rand
	kinds  []fault
	left   []fault
	dealt  int // steps
}

// next is the next step; every now and then it is a pair.
func (d *deck) next() step {
	f, _ := d.deal(func(fault) bool { return true })
	s := step{f}
	if d.dealt++; d.dealt%pairEvery == 0 {
		if g, ok := d.deal(func(g fault) bool { return compatible(f, g) }); ok {
			s = append(s, g)
		}
	}
	return s
}

func (d *deck) deal(fits func(fault) bool) (fault, bool) {
	if len(d.left) == 0 {
		d.left = slices.Clone(d.kinds)
		d.random.Shuffle(len(d.left), func(i, j int) { d.left[i], d.left[j] = d.left[j], d.left[i] })
	}
	i := slices.IndexFunc(d.left, fits)
	if i < 0 {
		return fault{}, false
	}
	f := d.left[i]
	d.left = slices.Delete(d.left, i, i+1)
	return f, true
}

// script repeats the same faults in the same order.
type script struct {
	faults []fault
	dealt  int
}

func (s *script) next() step {
	f := s.faults[s.dealt%len(s.faults)]
	s.dealt++
	return step{f}
}

// compatible reports whether two faults can come at once.
func compatible(f, g fault) bool { return f.aim != g.aim && f.aim != all && g.aim != all }

// halves reports whether the two take a majority of the voters away, or may.
func (s step) halves() bool {
	return len(s) == 2 && (s[0].aim == leaders && s[1].aim == followers || s[0].aim == followers && s[1].aim == leaders)
}
