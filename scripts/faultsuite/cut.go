//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
)

// way is one direction between two hosts.
type way struct{ from, to *host }

// both returns the two directions.
func both(a, b *host) []way { return []way{{a, b}, {b, a}} }

// cut drops packets on some ways until it is lifted. Each has a table of its own, so that several don't meet.
type cut struct{ table string }

// perMille is what dropSome counts in.
const perMille = 1000

// dropSome drops some of a thousand packets on the ways, at random.
func dropSome(table string, ways []way, share int) (*cut, error) {
	cmd := exec.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(rules(table, ways, share))
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("nft: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return &cut{table}, nil
}

// rules writes a table that drops packets on their way through the middle.
func rules(table string, ways []way, share int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "table ip %s {\n\tchain lost {\n\t\ttype filter hook forward priority 0;\n", table)
	for _, w := range ways {
		chance := ""
		if share < perMille {
			chance = fmt.Sprintf("numgen random mod %d < %d ", perMille, share)
		}
		fmt.Fprintf(&b, "\t\tip saddr %s ip daddr %s %scounter drop\n", w.from.addr, w.to.addr, chance)
	}
	b.WriteString("\t}\n}\n")
	return b.String()
}

// dropped returns how many packets were dropped so far.
func (c *cut) dropped() (int, error) {
	out, err := exec.Command("nft", "-j", "list", "table", "ip", c.table).Output()
	if err != nil {
		return 0, fmt.Errorf("nft: list %s: %w", c.table, err)
	}
	return countDrops(out)
}

// countDrops adds the counters up in what nft prints as JSON.
func countDrops(text []byte) (int, error) {
	var list struct {
		Nftables []struct {
			Rule struct {
				Expr []struct {
					Counter struct{ Packets int }
				}
			}
		}
	}
	if err := json.Unmarshal(text, &list); err != nil {
		return 0, fmt.Errorf("read counters of nft: %w", err)
	}
	sum := 0
	for _, one := range list.Nftables {
		for _, e := range one.Rule.Expr {
			sum += e.Counter.Packets
		}
	}
	return sum, nil
}

func (c *cut) lift() error { return command("nft", "delete", "table", "ip", c.table) }
