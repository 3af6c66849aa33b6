package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strings"

	"cloakroom/httpapi/support"
)

type supportBundleCmd struct {
	Output string `short:"o" placeholder:"FILE" help:"Write to this file, - for standard output (default: cloakroom-support-NAME-TIME.tar.gz)."`

	clientFlags `embed:""`
}

// Help implements kong.HelpProvider.
func (*supportBundleCmd) Help() string {
	return "It is a tar.gz for somebody who looks for what is wrong with a node: its version, settings, members, raft's state, limits, metrics, what " +
		"doctor finds, the last lines of its log, goroutines, a heap profile, the names of its files, and what the kernel allows it. No key, token, " +
		"password or hash of one is in it, nor any session, user or attribute; names and addresses of nodes, realms and directory servers are, and an " +
		"error in the log may name somebody: manifest.json says so. " +
		"The node makes it, and needs no leader for that. What could not be had is said, and the rest is written: exit code 0. Make one of each node. " +
		"With --url it takes the operator's address, which asks for no login. When no node runs on --data-dir, it holds what the directory and this " +
		"machine tell."
}

// Run implements the command support-bundle.
func (s *supportBundleCmd) Run(ctx context.Context, a *app) error {
	if s.User != "" {
		return flagErrorf("user", "--url takes the operator's address here (--operator), which asks for no login: a login needs a leader, and a bundle may not")
	}
	if out, isFile := a.stdout.(*os.File); s.Output == "-" && isFile && isTerminal(out) {
		return usagef("a bundle is no text: redirect it into a file")
	}
	c, err := a.client(&s.clientFlags)
	if err != nil {
		return err
	}
	bundle, err := c.bundle(ctx)
	if errors.Is(err, io.EOF) { // the node has closed the connection without an answer: one that is opened again does
		bundle, err = c.bundle(ctx)
	}
	running := true
	if why, ok := errors.AsType[*noNodeError](err); ok {
		running = false
		if bundle, err = bundleWithoutNode(ctx, s.DataDir, why); err != nil {
			return err
		}
	}
	if err != nil {
		return fmt.Errorf("make a support bundle: %w", err)
	}
	manifest, _, err := support.Read(bytes.NewReader(bundle))
	if err != nil {
		return fmt.Errorf("make a support bundle: %w", err)
	}
	return s.write(a, manifest, bundle, running)
}

// bundle asks the node for a bundle. *noNodeError: it does not answer by its socket.
func (c *client) bundle(ctx context.Context) (bundle []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, BundleTimeout)
	defer cancel()
	err = c.stream(ctx, http.MethodGet, "/support-bundle", nil, func(body io.Reader) (err error) {
		bundle, err = io.ReadAll(io.LimitReader(body, support.MaxBundle))
		return err
	})
	refusal, refused := errors.AsType[*apiError](err)
	switch {
	case c.socket != "" && errors.Is(ctx.Err(), context.DeadlineExceeded):
		return nil, &noNodeError{fmt.Errorf("the node at %s does not answer within %v", c.socket, BundleTimeout)}
	case refused && refusal.Status == http.StatusNotFound && c.socket == "":
		return nil, fmt.Errorf("%s is not the operator's address of a node (--operator)", c.base)
	}
	return bundle, err
}

// write writes the bundle into its file and says what is in it.
func (s *supportBundleCmd) write(a *app, manifest *support.Manifest, bundle []byte, running bool) error {
	path, report := s.Output, a.stdout
	if path == "" {
		path = support.Name(manifest) + ".tar.gz"
	}
	put := func(w io.Writer) error {
		_, err := w.Write(bundle)
		return err
	}
	var err error
	if path == "-" {
		report, err = a.stderr, put(a.stdout) // standard output is the bundle's
	} else {
		err = writeWhole(path, put)
	}
	if err != nil {
		return fmt.Errorf("write the support bundle: %w", err)
	}
	if s.JSON {
		return printJSON(report, manifest)
	}
	var text strings.Builder
	fmt.Fprintf(&text, "%s: %d parts, %d bytes. %s\n", path, len(manifest.Parts)-len(manifest.Missing()), len(bundle), manifest.Personal)
	if !running {
		fmt.Fprintf(&text, "No node answers on %s, so it holds little. Add what `cloakroom doctor` prints with the flags of the node, and the end of its log.\n", s.DataDir)
	}
	for _, e := range manifest.Missing() {
		why := e.Error
		if e.Cut {
			why = "there was more than fits"
		}
		fmt.Fprintf(&text, "not in it, or not whole: %s (%s): %s\n", e.Name, e.Holds, printable(why))
	}
	_, err = fmt.Fprint(report, text.String())
	return err
}

// bundleWithoutNode is what can be said of a node that does not run.
func bundleWithoutNode(ctx context.Context, dir string, why error) ([]byte, error) {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil, flagErrorf("data-dir", "%s: there is no such directory", dir)
	}
	parts := []support.Part{partVersion(), partFiles(dir), partKernel()}
	parts = append(parts, support.Part{Name: "node", Holds: "all that only a running node can say", Take: func(context.Context, io.Writer) error { return why }})
	return support.New(support.About{Program: buildVersion(), Personal: personalOffline}, parts).Make(ctx)
}

// What a bundle says about itself.
const (
	personalOffline = "It names files of the data directory, and no people."
	personalOnline  = "It holds no secrets, sessions, users or attributes. It names nodes, realms and directory servers with their addresses, and files; " +
		"the text of an error in the log may name a user or the address of a client."
)
