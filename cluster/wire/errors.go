package wire

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"cloakroom/cluster/session"
)

// What callers see. ErrUnreachable and ErrLost tell whether a request may be repeated; see the package doc.
var (
	ErrUnreachable    = &session.Error{Code: "unreachable", Message: "the node was not reached, nothing was sent to it"}
	ErrLost           = &session.Error{Code: "lost", Message: "the node did not answer: it may or may not have carried out the request"}
	ErrOverloaded     = &session.Error{Code: "overloaded", Message: "this node has too much queued: try again"}
	ErrTooLarge       = &session.Error{Code: "message-too-large", Message: "a message between nodes is at most 1 MiB long"}
	ErrUnknownRequest = &session.Error{Code: "unknown-request", Message: "the node does not know this kind of request: it may be of another version"}
	ErrInternal       = &session.Error{Code: "internal", Message: "the node failed to carry out the request: its log says why"}
)

// Why a connection is refused. They come together with ErrUnreachable.
var (
	ErrOtherCluster = session.ErrOtherCluster
	ErrOtherKey     = &session.Error{Code: "other-cluster-key", Message: "the node has another cluster key"}
	ErrKeyRefused   = &session.Error{Code: "cluster-key-refused", Message: "the node does not accept this node's cluster key"}
	ErrVersion      = &session.Error{Code: "protocol-version", Message: "the nodes speak no common version of the protocol: upgrade in smaller steps"}
	ErrIdentity     = &session.Error{Code: "wrong-node-id", Message: "the node id is not that of the certificate"}
)

// What a configuration is refused for.
var (
	ErrBadKey       = &session.Error{Code: "bad-cluster-key", Message: "a cluster key is 32 bytes in base64: make one with `cloakroom keygen`"}
	ErrBadRing      = &session.Error{Code: "bad-cluster-keys", Message: "these keys can't be used together"}
	ErrLoopbackOnly = &session.Error{Code: "loopback-only", Message: "without a cluster key a node listens for others on loopback only: make a key with `cloakroom keygen` and give it to every node"}
)

// Why a connection ended, in the words of the log.
var (
	errClosed   = errors.New("the transport is closed")
	errEnded    = errors.New("the connection has ended")
	errSilent   = errors.New("nothing was heard")
	errIdle     = errors.New("the connection was not used")
	errReplaced = errors.New("the node has newer connections")
	errRenewed  = errors.New("there is a newer connection, under the present cluster key")
	errOldKey   = errors.New("the peer's certificate is under a cluster key that is no longer accepted")
	errFrame    = errors.New("malformed frame")
	errRaft     = errors.New("malformed or oversized message of raft")
	errHello    = errors.New("malformed hello")
)

func unreachable(addr string, cause error) error {
	return fmt.Errorf("call %s: %w: %w", addr, ErrUnreachable, cause)
}

func lost(addr string, cause error) error {
	return fmt.Errorf("call %s: %w: %w", addr, ErrLost, cause)
}

// coded turns a handler's error into what travels. known is false for an error that has no code: it belongs into the
// log, and its text stays here, as it may tell of things that are not the peer's business.
func coded(err error) (e *session.Error, known bool) {
	switch {
	case errors.Is(err, ErrUnreachable), errors.Is(err, ErrLost):
		// The handler's own call to a third node failed. Passed on as "unreachable" it would tell the caller that
		// nothing was done, but what the handler did before is not known here.
		return ErrLost, true
	case errors.As(err, &e):
		if e.Code == "" || len(e.Code) > maxErrorCode {
			return ErrInternal, false
		}
		return &session.Error{Code: e.Code, Message: cut(e.Message, maxErrorText)}, true
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return ErrLost, true // the caller has gone, or this node stops
	}
	return ErrInternal, false
}

// cut shortens s to at most n bytes of whole characters.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}
