package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/pprof"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// operatorServer serves what is for the operator's eyes only, on a listener of its own that has no login: metrics,
// the cluster's members and profiles. It is net/http, which the libraries behind it are made for.
func (s *Server) operatorServer() *http.Server {
	mux := http.NewServeMux()
	get := func(path string, h http.HandlerFunc) {
		mux.HandleFunc("GET "+path, h)
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Allow", "GET, HEAD")
			s.failOperator(w, errMethod)
		})
	}
	get("/metrics", promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}).ServeHTTP)
	get("/cluster", func(w http.ResponseWriter, _ *http.Request) { s.writeOperator(w, 200, s.clusterView()) })
	get("/healthz", func(w http.ResponseWriter, _ *http.Request) { s.writeOperator(w, 200, statusBody{"ok"}) })
	get("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := s.ready(); err != nil {
			s.failOperator(w, err)
			return
		}
		s.writeOperator(w, 200, statusBody{"ready"})
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { s.failOperator(w, errNotFound) })
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: readTimeout,
		ReadTimeout:       operatorRead,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
}

func (s *Server) writeOperator(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", typeJSON)
	w.Header().Set("Cache-Control", headerNoStore)
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		s.log.Debug("operator's answer not sent", "error", err)
	}
}

// failOperator answers an error in the one form that the API has, too.
func (s *Server) failOperator(w http.ResponseWriter, err error) {
	status, e, _ := answerOf(err)
	if status == http.StatusServiceUnavailable {
		w.Header().Set(headerRetryAfter, "1")
	}
	w.Header().Set(headerRequestID, string(appendRequestID(nil)))
	s.writeOperator(w, status, map[string]string{"code": e.Code, "error": e.Message, "message": e.Message})
}

// closeOperator ends the operator's listener. A profile that is being taken is cut off after a moment.
func (s *Server) closeOperator() error {
	ctx, cancel := context.WithTimeout(context.Background(), operatorStop)
	defer cancel()
	err := s.operator.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.operator.Close()
	}
	if err != nil {
		return fmt.Errorf("close operator listener: %w", err)
	}
	return nil
}
