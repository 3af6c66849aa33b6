package httpapi

import "errors"

// errNoTLS refuses to reload what there is not.
var errNoTLS = errors.New("the API has no TLS certificate: there is none to reload")

// ReloadCertificate reads the files of the API's certificate now, as SIGHUP asks for. The error says why the
// certificate from before stays.
func (s *Server) ReloadCertificate() error {
	if s.certificate == nil {
		return errNoTLS
	}
	return s.certificate.Reload()
}
