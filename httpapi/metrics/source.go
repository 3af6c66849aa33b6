package metrics

import (
	"cloakroom/cluster"
	"cloakroom/httpapi/audit"
	"cloakroom/httpapi/realm"
	"cloakroom/httpapi/recheck"
	"cloakroom/httpapi/transport"
)

// Source is where the numbers come from. All of it is asked once for each look at the metrics.
type Source struct {
	Version string // of the program
	Routes  []Metered
	Cluster func() cluster.Stats
	Server  func() ServerStats
	Hasher  func() realm.HasherStats
	Audit   func() audit.Stats
	Recheck func() recheck.Stats // nil: nobody is looked up again
	TLS     func() TLSStats      // nil: there is none
}

// Metered is a route by its label, and what counts its answers.
type Metered struct {
	Path  string
	Meter *Meter
}

// ServerStats are what the HTTP server counts itself.
type ServerStats struct {
	InFlight        int64
	Panics          uint64
	LoginsRefused   uint64 // for wrong credentials
	LoginsThrottled uint64 // because too many had failed
	Orphans         int    // sessions of unknown outcome that are being ended
	Ready           bool
}

// TLSStats are about the API's certificate, and the handshakes.
type TLSStats struct {
	transport.CertificateStats
	Running int    // handshakes under way
	Refused uint64 // because too many were
}
