package metrics

// certificateSamples are the metrics of the API's certificate, none without TLS.
func (m *Collector) certificateSamples() []sample {
	if m.source.TLS == nil {
		return nil
	}
	c, end := m.source.TLS(), 0.0
	if !c.NotAfter.IsZero() {
		end = float64(c.NotAfter.Unix())
	}
	return []sample{
		{"tls_certificate_not_after_timestamp_seconds", "End of the API's certificate, in Unix time.", false, end},
		{"tls_certificate_reloads_total", "Certificates taken since the start.", true, float64(c.Reloads)},
		{"tls_certificate_reload_failures_total", "Tries to take a new certificate that were refused.", true, float64(c.Failures)},
		{"tls_handshakes_running", "TLS handshakes under way.", false, float64(c.Running)},
		{"tls_handshakes_refused_total", "Connections closed because too many handshakes were under way.", true, float64(c.Refused)},
	}
}

// auditSamples are about the audit log.
func (m *Collector) auditSamples() []sample {
	a := m.source.Audit()
	return []sample{
		{"audit_lines_total", "Lines written to the audit log.", true, float64(a.Written)},
		{"audit_failures_total", "Lines that could not be written to it. Should be 0.", true, float64(a.Failed)},
		{"audit_lost_total", "Lines lost because the disk did not answer and too many waited. Should be 0.", true, float64(a.Lost)},
		{"audit_waiting", "Lines that wait for the disk.", false, float64(a.Waiting)},
		{"audit_omitted_total", "Lines left out because there were too many of their kind in a second.", true, float64(a.Omitted)},
	}
}

// recheckSamples are about users who are looked up again, none where nobody does.
func (m *Collector) recheckSamples() []sample {
	if m.source.Recheck == nil {
		return nil
	}
	r := m.source.Recheck()
	return []sample{
		{"recheck_rounds_total", "Rounds through the users of directories that this node has begun as leader.", true, float64(r.Rounds)},
		{"recheck_users_total", "Users that it has looked up again.", true, float64(r.Checks)},
		{"recheck_ended_total", "Of these, gone or disabled: their sessions were ended.", true, float64(r.Ended)},
		{"recheck_roles_total", "Of these, with other roles than their sessions.", true, float64(r.RolesChanged)},
		{"recheck_unclear_total", "Of these, without a clear answer.", true, float64(r.Unclear)},
		{"recheck_passed_over_total", "Of these, without an answer from a realm that answered about others.", true, float64(r.PassedOver)},
		{"recheck_failed_total", "Findings that the cluster did not take.", true, float64(r.Failed)},
		{"recheck_outages", "Realms that did not answer last.", false, float64(r.Outages)},
		{"recheck_braked", "Realms of which too many users seemed to be gone: nobody more is logged out until somebody says that it is true.", false, float64(r.Braked)},
	}
}
