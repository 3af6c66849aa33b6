package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/pprof"

	"cloakroom/httpapi/exchange"
	"cloakroom/httpapi/transport"
)

// operator serves what is for the operator's eyes only, on a listener of its own that has no login: metrics,
// the cluster's members, support bundles and profiles. It is net/http, which the libraries behind it are made for.
type operator struct {
	server   *http.Server
	health   *health
	supports *supports
	log      *slog.Logger
}

func newOperator(metrics http.Handler, h *health, b *supports, log *slog.Logger) *operator {
	o := &operator{health: h, supports: b, log: log}
	mux := http.NewServeMux()
	get := func(path string, h http.HandlerFunc) {
		mux.HandleFunc("GET "+path, h)
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Allow", "GET, HEAD")
			o.fail(w, exchange.ErrMethod)
		})
	}
	get("/metrics", metrics.ServeHTTP)
	get("/cluster", func(w http.ResponseWriter, _ *http.Request) { o.write(w, 200, o.health.clusterView()) })
	get("/healthz", func(w http.ResponseWriter, _ *http.Request) { o.write(w, 200, statusBody{"ok"}) })
	get("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		o.health.visits.check()
		if err := o.health.ready(); err != nil {
			o.fail(w, err)
			return
		}
		o.write(w, 200, statusBody{"ready"})
	})
	get("/support-bundle", func(w http.ResponseWriter, r *http.Request) {
		bundle, err := o.supports.bundle(r.Context())
		if err != nil {
			o.fail(w, err)
			return
		}
		w.Header().Set("Content-Type", typeBundle)
		w.Header().Set("Content-Disposition", bundleFile)
		w.Header().Set("Cache-Control", exchange.HeaderNoStore)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if _, err := w.Write(bundle); err != nil {
			o.log.Debug("operator's answer not sent", "error", err)
		}
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { o.fail(w, exchange.ErrNotFound) })
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	o.server = &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: transport.ReadTimeout,
		ReadTimeout:       operatorRead,
		IdleTimeout:       transport.IdleTimeout,
		MaxHeaderBytes:    exchange.MaxHeader,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	return o
}

func (o *operator) write(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", exchange.TypeJSON)
	w.Header().Set("Cache-Control", exchange.HeaderNoStore)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		o.log.Debug("operator's answer not sent", "error", err)
	}
}

// fail answers an error in the one form that the API has, too.
func (o *operator) fail(w http.ResponseWriter, err error) {
	status, e, _ := exchange.AnswerOf(err)
	if status == http.StatusServiceUnavailable {
		w.Header().Set(exchange.HeaderRetryAfter, "1")
	}
	w.Header().Set(exchange.HeaderRequestID, string(exchange.AppendRequestID(nil)))
	o.write(w, status, map[string]string{"code": e.Code, "error": e.Message, "message": e.Message})
}

// close ends the operator's listener. A profile that is being taken is cut off after a moment.
func (o *operator) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), operatorStop)
	defer cancel()
	err := o.server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = o.server.Close()
	}
	if err != nil {
		return fmt.Errorf("close operator listener: %w", err)
	}
	return nil
}
