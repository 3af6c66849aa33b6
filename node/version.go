package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"cloakroom/cluster/session"
)

type versionCmd struct {
	JSON bool `name:"json" help:"Print JSON for programs."`
}

// Run implements the command version.
func (v *versionCmd) Run(a *app) error {
	build := buildVersion()
	if v.JSON {
		return printJSON(a.stdout, map[string]any{
			"version": build, "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH,
			"minCommands": session.MinVersion, "maxCommands": session.MaxVersion,
		})
	}
	_, err := fmt.Fprintf(a.stdout, "cloakroom %s (%s %s/%s, commands %d to %d)\n",
		build, runtime.Version(), runtime.GOOS, runtime.GOARCH, session.MinVersion, session.MaxVersion)
	return err
}

// buildVersion returns the module's version where the program was built from a tagged one, else the commit, else
// "devel": `go run` stamps neither.
func buildVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	if version := info.Main.Version; version != "" && version != "(devel)" {
		return version
	}
	revision, dirty := "", ""
	for _, setting := range info.Settings {
		switch {
		case setting.Key == "vcs.revision":
			revision = setting.Value
		case setting.Key == "vcs.modified" && setting.Value == "true":
			dirty = "+changes"
		}
	}
	if revision == "" {
		return "devel"
	}
	return "devel-" + revision[:min(12, len(revision))] + dirty
}
