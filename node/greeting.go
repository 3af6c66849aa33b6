package main

import (
	"fmt"
	"strings"

	"cloakroom/cluster/session"
)

// greeting is what a node prints when it is ready: three lines that work as they stand in any shell.
type greeting struct {
	cfg      *Config
	api      string         // its address
	operator string         // the operator's listener's
	made     session.Secret // the first user's password, if it was made now: this is the only time that it is shown
	given    adminPassword
	users    bool // somebody can log in, as far as this node knows
}

func (g *greeting) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "cloakroom: %s is ready: session API at %s, operator's pages at http://%s\n\n", g.cfg.Name, g.url(), g.cfg.reachable(g.operator))
	if !g.users {
		fmt.Fprintf(&b, "There is no user yet. Make one with: cloakroom user add %s --role %s --data-dir %s\n\n",
			firstAdmin, session.RoleAdmin, quote(g.cfg.DataDir))
	}
	fmt.Fprintf(&b, "%s\n\n", g.login())
	curl := "curl"
	if g.cfg.TLSCert != "" {
		curl += " -k" // names and issuers of certificates are not ours to know
	}
	target := g.url() + "/api/session"
	fmt.Fprintf(&b, "  %s -i -c cookies -H 'Content-Type: application/json' -d '{\"username\":\"%s\",\"password\":\"%s\"}' %s\n",
		curl, firstAdmin, g.password(), target)
	fmt.Fprintf(&b, "  %s -b cookies %s\n", curl, target)
	fmt.Fprintf(&b, "  %s -i -b cookies -X DELETE %s\n\n", curl, target)
	return b.String()
}

// login says what to know about the password before the three lines are used.
func (g *greeting) login() string {
	switch {
	case g.made != "":
		return fmt.Sprintf("The first user is %s, password %s. It is shown this once and kept nowhere: note it down.\nLog in, see who you are, log out:",
			firstAdmin, string(g.made))
	case g.given.file != "":
		return fmt.Sprintf("Log in as %s with the password in %s, see who you are, log out:", firstAdmin, g.given.file)
	}
	lost := ""
	if g.given.secret == "" && g.users {
		lost = fmt.Sprintf("%s's password was printed once, by the node that made the user; cloakroom user passwd %s --data-dir %s sets another.\n",
			firstAdmin, firstAdmin, quote(g.cfg.DataDir))
	}
	return lost + fmt.Sprintf("Put %s's password into CLOAKROOM_ADMIN_PASSWORD, then log in, see who you are, log out:", firstAdmin)
}

// password returns the password as it stands between the JSON's quotes inside the shell's single quotes: itself when
// it was made here, which has letters and digits only, and otherwise what makes the shell fetch it.
func (g *greeting) password() string {
	switch {
	case g.made != "":
		return string(g.made)
	case g.given.file != "":
		return `'"$(cat ` + quote(g.given.file) + `)"'`
	}
	return `'"$CLOAKROOM_ADMIN_PASSWORD"'`
}

func (g *greeting) url() string {
	scheme := "http"
	if g.cfg.TLSCert != "" {
		scheme = "https"
	}
	return scheme + "://" + g.cfg.reachable(g.api)
}

// quote makes a word of any text for a shell (POSIX, 2.2.2).
func quote(text string) string {
	plain := func(r rune) bool { return nameRune(r) || r == '/' }
	if text != "" && strings.IndexFunc(text, func(r rune) bool { return !plain(r) }) < 0 {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
