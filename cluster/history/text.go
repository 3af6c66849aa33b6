package history

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// describe tells an operation and its outcome in one line.
func describe(in input) string {
	op := in.op
	var b strings.Builder
	b.WriteString(op.Kind.String())
	if op.Kind != EndAll {
		fmt.Fprintf(&b, " #%d", in.n)
	}
	if len(op.Attrs) > 0 {
		b.WriteString(" " + textOf(sorted(op.Attrs)))
	}
	if len(op.Names) > 0 {
		fmt.Fprintf(&b, " %s", strings.Join(op.Names, " "))
	}
	if op.IfRev != 0 {
		fmt.Fprintf(&b, " if at %d", op.IfRev)
	}
	if op.Use && !op.changes() {
		b.WriteString(" (a use)")
	}
	b.WriteString(" → ")
	switch op.Outcome {
	case Done:
		b.WriteString(answer(op))
	case Refused:
		b.WriteString("refused: " + op.Refusal.String())
	default:
		b.WriteString(op.Outcome.String())
	}
	return b.String()
}

func answer(op *Operation) string {
	var parts []string
	if op.Kind == Get {
		parts = append(parts, textOf(sorted(op.Answer.Attrs)))
	}
	if op.Answer.Rev != 0 {
		parts = append(parts, fmt.Sprintf("at %d", op.Answer.Rev))
	}
	if op.Answer.Ended != nil {
		parts = append(parts, fmt.Sprintf("%d ended", *op.Answer.Ended))
	}
	if len(parts) == 0 {
		return "done"
	}
	return strings.Join(parts, " ")
}

// textOf prints attributes, and nothing of them that is long.
func textOf(attrs []Attr) string {
	var parts []string
	for _, a := range attrs {
		value := a.Value
		if len(value) > 24 {
			value = value[:20] + "…"
		}
		parts = append(parts, a.Key+"="+value)
	}
	return "{" + strings.Join(parts, " ") + "}"
}

// text tells a user's operations in order of their begins. searched are those that the search had to place, order is how
// far it came: what is in it has its number, what is not has an exclamation mark.
func (p *partition) text(searched []input, order []*Operation) string {
	mark := make(map[*Operation]string)
	for _, in := range searched {
		mark[in.op] = "!"
	}
	for i, op := range order {
		mark[op] = strconv.Itoa(i + 1)
	}
	var b strings.Builder
	for _, op := range p.ops {
		fmt.Fprintf(&b, "%4s %s %s\n", mark[op], times(op), describe(input{op: op, n: p.number[op.Key]}))
	}
	for _, key := range slices.Sorted(maps.Keys(p.number)) {
		fmt.Fprintf(&b, "     #%d is %s\n", p.number[key], key)
	}
	return b.String()
}

func times(op *Operation) string {
	end := "…"
	if op.Return != 0 {
		end = op.Ended.Round(time.Microsecond).String()
	}
	return fmt.Sprintf("%12v %12s  %s client %d:", op.Begun.Round(time.Microsecond), end, op.Node, op.Client)
}

// lines tells some operations without their user's others.
func lines(ops ...*Operation) string {
	var b strings.Builder
	for _, op := range ops {
		fmt.Fprintf(&b, "     %s %s (session %s of %s)\n", times(op), describe(input{op: op}), op.Key, op.User)
	}
	return b.String()
}
