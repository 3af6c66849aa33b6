package httpapi

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync/atomic"

	"github.com/valyala/fasthttp"

	"cloakroom/httpapi/access"
	"cloakroom/httpapi/exchange"
)

// Support makes a support bundle of the node: a tar.gz without secrets. It must come to an end without a leader, too.
type Support func(ctx context.Context) ([]byte, error)

const (
	typeBundle = "application/gzip"
	bundleFile = `attachment; filename="cloakroom-support.tar.gz"`
)

// supports is /support-bundle of the control socket and the operator's listener. The API has none: a login there wants a
// leader, and a bundle is for a node that may have none.
type supports struct {
	source  Support // nil: there are no bundles
	running atomic.Bool
	log     *slog.Logger
	state   *access.State
}

// bundle makes a bundle, one at a time.
func (b *supports) bundle(ctx context.Context) ([]byte, error) {
	if b.source == nil {
		return nil, exchange.ErrNotFound
	}
	if !b.running.CompareAndSwap(false, true) {
		return nil, exchange.ErrBundleRuns
	}
	defer b.running.Store(false)
	bundle, err := b.source(ctx)
	if err != nil {
		return nil, fmt.Errorf("make support bundle: %w", err)
	}
	b.log.Info("a support bundle was made", "bytes", len(bundle))
	return bundle, nil
}

// getBundle is GET /support-bundle on the control socket.
func (b *supports) getBundle(rc *exchange.Request) error {
	bundle, err := b.bundle(b.state.Context(rc))
	if err != nil {
		return err
	}
	h := &rc.Ctx.Response.Header
	h.SetContentType(typeBundle)
	h.Set(fasthttp.HeaderContentDisposition, bundleFile)
	rc.Ctx.SetBody(bundle)
	return nil
}

// WriteMetrics writes what /metrics answers.
func (s *Server) WriteMetrics(w io.Writer) error {
	request, err := http.NewRequest(http.MethodGet, "/metrics", nil)
	if err != nil {
		return fmt.Errorf("ask for metrics: %w", err)
	}
	answer := &written{Writer: w, header: http.Header{}, status: http.StatusOK}
	s.metrics.ServeHTTP(answer, request)
	if answer.status != http.StatusOK {
		return fmt.Errorf("ask for metrics: %d", answer.status)
	}
	return nil
}

// written is an answer that goes to a writer.
type written struct {
	io.Writer
	header http.Header
	status int
}

func (w *written) Header() http.Header    { return w.header }
func (w *written) WriteHeader(status int) { w.status = status }

// Cluster returns what /cluster answers.
func (s *Server) Cluster() any { return s.health.clusterView() }
