package httpapi

import "cloakroom/httpapi/metrics"

// source is what the metrics are made of.
func (s *Server) source() metrics.Source {
	from := metrics.Source{
		Version: s.cfg.Version, Cluster: s.state.Cluster.Stats, Hasher: s.cfg.Hasher.Stats, Audit: s.cfg.Audit.Stats,
		Server: func() metrics.ServerStats {
			return metrics.ServerStats{
				InFlight: s.inFlight.Load(), Panics: s.panics.Load(), LoginsRefused: s.door.Refused.Load(),
				LoginsThrottled: s.door.Throttled.Load(), Orphans: s.logins.Orphans.Count(), Ready: s.health.ready() == nil,
			}
		},
	}
	for _, r := range s.router.All {
		from.Routes = append(from.Routes, metrics.Metered{Path: r.Path, Meter: &r.Meter})
	}
	if s.cfg.Recheck != nil {
		from.Recheck = s.cfg.Recheck.Stats
	}
	if s.certificate != nil {
		from.TLS = func() metrics.TLSStats {
			return metrics.TLSStats{CertificateStats: s.certificate.Stats(), Running: s.handshakes.Running(), Refused: s.handshakes.Refused()}
		}
	}
	return from
}
