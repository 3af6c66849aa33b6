package httpapi

import (
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"strconv"
	"testing"
	"time"

	"cloakroom/cluster"
	"cloakroom/cluster/consensus"
	"cloakroom/cluster/guard"
	"cloakroom/cluster/propose"
	"cloakroom/cluster/roster"
	"cloakroom/cluster/session"
	"cloakroom/cluster/tries"
	"cloakroom/httpapi/exchange"
	"cloakroom/httpapi/realm"
)

// notForClients are codes that no request can cause: they end as 500 and in the log.
var notForClients = map[string]bool{
	"bad-command": true, "unknown-command-kind": true, "bad-encoding": true, "other-cluster": true, "bad-password-hash": true,
	"recheck-impossible": true, "recheck-unclear": true,
}

// Every sentinel that a client can see has a status: a new one that nobody put into the map fails here.
func TestEveryCodeHasAStatus(t *testing.T) {
	for _, file := range []string{"../cluster/session/errors.go", "realm/errors.go", "exchange/errors.go", "../cluster/types.go", "../cluster/roster/change.go", "../cluster/guard/errors.go"} {
		tree, err := parser.ParseFile(gotoken.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		ast.Inspect(tree, func(n ast.Node) bool {
			lit, ok := n.(*ast.CompositeLit)
			if !ok || len(lit.Elts) != 2 {
				return true
			}
			first := lit.Elts[0]
			if kv, ok := first.(*ast.KeyValueExpr); ok {
				first = kv.Value
			}
			if text, ok := first.(*ast.BasicLit); ok && text.Kind == gotoken.STRING {
				code, err := strconv.Unquote(text.Value)
				if err != nil {
					t.Fatal(err)
				}
				found++
				if (exchange.StatusOf(code) == 0) != notForClients[code] {
					t.Errorf("%s: %s has the status %d", file, code, exchange.StatusOf(code))
				}
			}
			return true
		})
		if found < 2 {
			t.Errorf("%s: only %d codes found", file, found)
		}
	}
}

func TestStatuses(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		code   string
		known  bool
	}{
		{session.ErrSessionInvalid, 401, "session-invalid", true},
		{fmt.Errorf("wrapped: %w", session.ErrSessionIdle), 401, "session-idle-timeout", true},
		{&session.Error{Code: "session-invalid", Message: "from another node"}, 401, "session-invalid", true},
		{session.ErrConflict, 412, "precondition-failed", true},
		{session.ErrLimitAttributeValue, 413, "limit-attribute-value", true},
		{session.ErrLastAdmin, 409, "last-admin", true},
		{session.ErrPrivilegedUser, 403, "privileged-user", true},
		{cluster.ErrOutcomeUnknown, 503, "outcome-unknown", true},
		{cluster.ErrCutOff, 503, "cut-off", true},
		{realm.ErrBusy, 503, "login-busy", true},
		{context.DeadlineExceeded, 503, "timeout", true},
		{&tries.Refusal{Wait: time.Minute}, 429, "limit-login-failures", true},
		{tries.ErrFailures, 429, "limit-login-failures", true},
		{roster.ErrMemberNotFound, 404, "member-not-found", true},
		{fmt.Errorf("%w: %w", roster.ErrNotTransferred, fmt.Errorf("behind")), 409, "not-transferred", true},
		{consensus.ErrNotVoter, 409, "not-a-voter", true},
		{propose.ErrUpgradePending, 409, "upgrade-pending", true},
		{guard.ErrDiskLow, 503, "disk-low", true},
		{guard.ErrLimitMemory, 429, "limit-memory", true},
		{session.ErrBadCommand, 500, "internal", false},
		{&session.Error{Code: "brand-new"}, 500, "internal", false},
		{fmt.Errorf("disk on fire"), 500, "internal", false},
	} {
		status, e, known := exchange.AnswerOf(c.err)
		if status != c.status || e.Code != c.code || known != c.known {
			t.Errorf("%v: %d %s %v", c.err, status, e.Code, known)
		}
	}
	if exchange.WaitOf(&tries.Refusal{Wait: time.Minute}) != time.Minute || exchange.WaitOf(cluster.ErrNoLeader) != exchange.RetryAfter ||
		exchange.WaitOf(fmt.Errorf("log in: %w", guard.ErrDiskLow)) != exchange.RetryRoom || exchange.WaitOf(guard.ErrLimitMemory) != exchange.RetryRoom {
		t.Error("Retry-After is wrong")
	}
}
