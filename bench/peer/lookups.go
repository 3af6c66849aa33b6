package peer

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Lookups is how a node has answered lookups of one level since it was started, or in between two readings.
type Lookups struct {
	Memory    int `json:"memory"`    // from its own memory, at once
	Waited    int `json:"waited"`    // from its own memory, a moment later
	Forwarded int `json:"forwarded"` // after a question to the leader, or to a majority
	Refused   int `json:"refused"`
}

// All is their number.
func (l Lookups) All() int { return l.Memory + l.Waited + l.Forwarded + l.Refused }

// Share returns a part of all, from 0 to 1; of none it is 0.
func (l Lookups) Share(part int) float64 {
	if l.All() == 0 {
		return 0
	}
	return float64(part) / float64(l.All())
}

// Left returns the share that another node had to be asked about.
func (l Lookups) Left() float64 { return l.Share(l.Forwarded) }

// Plus adds two readings up.
func (l Lookups) Plus(other Lookups) Lookups {
	return Lookups{l.Memory + other.Memory, l.Waited + other.Waited, l.Forwarded + other.Forwarded, l.Refused + other.Refused}
}

// Since returns what came after an earlier reading.
func (l Lookups) Since(before Lookups) Lookups {
	return Lookups{l.Memory - before.Memory, l.Waited - before.Waited, l.Forwarded - before.Forwarded, l.Refused - before.Refused}
}

// LookupsAt asks a node how it has answered lookups, by their level.
func (c *Cloakroom) LookupsAt(ctx context.Context, node int) (map[Level]Lookups, error) {
	m := c.members[node]
	text, err := c.get(ctx, "http://"+m.operator+"/metrics")
	if err != nil {
		return nil, fmt.Errorf("ask %s for its lookups: %w", m.name, err)
	}
	all, err := parseLookups(string(text))
	if err != nil {
		return nil, fmt.Errorf("lookups of %s: %w", m.name, err)
	}
	return all, nil
}

// Lookups asks all nodes, which must be running, and adds up what they say of all levels.
func (c *Cloakroom) Lookups(ctx context.Context) (Lookups, error) {
	var sum Lookups
	for i := range c.members {
		all, err := c.LookupsAt(ctx, i)
		if err != nil {
			return Lookups{}, err
		}
		for _, one := range all {
			sum = sum.Plus(one)
		}
	}
	return sum, nil
}

// parseLookups reads Prometheus' text format.
func parseLookups(text string) (map[Level]Lookups, error) {
	line, err := regexp.Compile(`^cloakroom_lookups_total\{level="(\w+)",outcome="(\w+)"\} (\S+)$`)
	if err != nil {
		return nil, err
	}
	all := make(map[Level]Lookups)
	for text := range strings.Lines(text) {
		found := line.FindStringSubmatch(strings.TrimSpace(text))
		if found == nil {
			continue
		}
		value, err := strconv.ParseFloat(found[3], 64)
		if err != nil {
			return nil, fmt.Errorf("counter %s: %w", found[0], err)
		}
		l := all[Level(found[1])]
		switch n := int(value); found[2] {
		case "memory":
			l.Memory += n
		case "waited":
			l.Waited += n
		case "forwarded":
			l.Forwarded += n
		case "refused":
			l.Refused += n
		default:
			return nil, fmt.Errorf("counter %s: no such outcome is known", found[0])
		}
		all[Level(found[1])] = l
	}
	if len(all) == 0 {
		return nil, errors.New("there are no counters cloakroom_lookups_total")
	}
	return all, nil
}
