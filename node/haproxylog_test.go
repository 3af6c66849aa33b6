package main

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// haproxyLog is HAProxy in front of the suite's nodes, and what it says of them.
type haproxyLog struct {
	t     testing.TB
	front string

	mu    sync.Mutex
	said  []string
	state [3]string // "UP", "DOWN", "": it has said nothing yet
	news  chan struct{}
}

func watchHAProxy(t *testing.T, s *suite) *haproxyLog {
	t.Helper()
	front, lines := startHAProxy(t, [3]string{s.nodes[0].http, s.nodes[1].http, s.nodes[2].http})
	h := &haproxyLog{t: t, front: front, news: make(chan struct{}, 1)}
	go func() {
		for lines.Scan() {
			h.hear(lines.Text())
		}
	}()
	client := s.client()
	s.until("HAProxy", func() bool {
		_, err := s.try(t.Context(), client, http.MethodGet, "http://"+front+"/healthz", "")
		return err == nil
	})
	return h
}

func (h *haproxyLog) hear(line string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.said = append(h.said, line)
	for i := range h.state {
		for _, state := range []string{"UP", "DOWN"} {
			if strings.Contains(line, fmt.Sprintf("Server nodes/n%d is %s", i+1, state)) {
				h.state[i] = state
			}
		}
	}
	select {
	case h.news <- struct{}{}:
	default:
	}
}

// await waits until HAProxy has said of a node that it is up or down.
func (h *haproxyLog) await(node int, state string) {
	h.t.Helper()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		h.mu.Lock()
		reached := h.state[node] == state
		h.mu.Unlock()
		if reached {
			return
		}
		select {
		case <-h.news:
		case <-limit.C:
			h.t.Fatalf("HAProxy has not said that n%d is %s:\n%s", node+1, state, strings.Join(h.said, "\n"))
		}
	}
}
