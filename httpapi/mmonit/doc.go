// Package mmonit owns the M/Monit surface: its calls on a session, its login with the pages for people, and where a login
// may lead back to. Sessions and logins are access's.
package mmonit
