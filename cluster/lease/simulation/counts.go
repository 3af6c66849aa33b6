package simulation

import (
	"fmt"
	"reflect"
	"strings"

	"cloakroom/cluster/lease"
)

// Counts says what has happened in histories. All of it can be added up.
type Counts struct {
	Histories int

	Operations, Writes int // started; those that reached a log
	Acknowledged       int
	Unknown            int // reached a log, unanswered
	LateAnswers        int // told by a node that led no more
	ByLease            int // lookups answered from a node's own lease
	ByPoint            int // after asking the leader, which holds one
	ByQuorum           int // after a round to the voters
	Unanswered         int // lookups
	Waited, Again      int // looked again whether stable; began again
	OldLeases          int // lookups by a lease of a former leader
	Rounds             int
	Asked, NotAsked    int // nodes that a leader had to ask for uses, or needed not to

	Elections, Unnoticed, Forced                           int
	Crashes, Stops, Pauses, Standstills, Rates             int
	Partitions, SlowTables                                 int
	Snapshots, Installs, Restores, Refused, Backward       int
	Configurations                                         int
	HandOvers, Transfers, Handed                           int
	GivenBack, Unwanted                                    int
	Messages, Lost, Doubled                                int
	Reports, Grants, Leases, Recalls, Overs, Announcements int // messages of the protocol; Leases: grants of some time

	Undecided int // owners whose operations porcupine had no time for
}

// count counts a message of the protocol.
func (c *Counts) count(e lease.Event) {
	switch m := e.(type) {
	case lease.Report:
		c.Reports++
	case lease.Grant:
		c.Grants++
		if m.Remaining > 0 {
			c.Leases++
		}
	case lease.Recall:
		c.Recalls++
	case lease.Over:
		c.Overs++
	case lease.Stable:
		c.Announcements++
	}
}

// Lookups returns how many lookups were answered.
func (c *Counts) Lookups() int { return c.ByLease + c.ByPoint + c.ByQuorum }

// Add adds another's.
func (c *Counts) Add(o Counts) {
	sum, more := reflect.ValueOf(c).Elem(), reflect.ValueOf(o)
	for i := range sum.NumField() {
		sum.Field(i).SetInt(sum.Field(i).Int() + more.Field(i).Int())
	}
}

func (c Counts) String() string {
	v := reflect.ValueOf(c)
	parts := make([]string, v.NumField())
	for i := range parts {
		parts[i] = fmt.Sprintf("%s %d", v.Type().Field(i).Name, v.Field(i).Int())
	}
	return strings.Join(parts, ", ")
}
