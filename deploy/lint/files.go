package main

import (
	"context"
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// imageUser is the user and the group of the image.
const imageUser = 65532

// systemd hands the unit's command line and the example of its variables to the program. The rest of the unit is for
// systemd-analyze.
func (l *linter) systemd(ctx context.Context) error {
	const file = "cloakroom.service"
	unit, err := l.read("systemd/" + file)
	if err != nil {
		return err
	}
	variables, err := l.read("systemd/cloakroom.env")
	if err != nil {
		return err
	}
	environment := make(map[string]string)
	for line := range strings.Lines(variables) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if ok && !strings.HasPrefix(name, "#") {
			environment[name] = value
		}
	}
	settings := make(map[string][]string)
	for line := range strings.Lines(strings.ReplaceAll(unit, "\\\n", " ")) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if ok && !strings.HasPrefix(name, "#") {
			settings[name] = append(settings[name], value)
		}
	}
	for _, line := range settings["Environment"] {
		name, value, _ := strings.Cut(line, "=")
		environment[name] = value
	}
	for _, line := range settings["ExecStart"] {
		line = strings.NewReplacer("${STATE_DIRECTORY}", "/var/lib/cloakroom", "${CREDENTIALS_DIRECTORY}", "/run/credentials/cloakroom.service").Replace(line)
		l.settings(ctx, file, strings.Fields(line)[1:], environment)
		for _, m := range regexp.MustCompile(`cloakroom\.service/(\S+)`).FindAllStringSubmatch(line, -1) {
			if !slices.ContainsFunc(settings["LoadCredential"], func(c string) bool { return strings.HasPrefix(c, m[1]+":") }) {
				l.complain(file, "the credential %s is not loaded", m[1])
			}
		}
	}
	stop, err := strconv.Atoi(strings.Join(settings["TimeoutStopSec"], ""))
	if err != nil || time.Duration(stop)*time.Second < longestStop {
		l.complain(file, "TimeoutStopSec is less than the %v that a stop may take", longestStop)
	}
	// Otherwise a node that is broken would stay down: with 1 the program fails, and with 2 Go ends it.
	if wrong := l.wrongUse(ctx); wrong == "1" || wrong == "2" || !slices.Equal(settings["RestartPreventExitStatus"], []string{wrong}) {
		l.complain(file, "RestartPreventExitStatus is %q, and the program ends with %s for wrong use alone", settings["RestartPreventExitStatus"], wrong)
	}
	return nil
}

// docker looks at the last stage of the Dockerfile, and hands its command line to the program.
func (l *linter) docker(ctx context.Context) error {
	const file = "Dockerfile"
	text, err := l.read("docker/" + file)
	if err != nil {
		return err
	}
	last := make(map[string]string)
	for line := range strings.Lines(text) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch {
		case word == "FROM":
			clear(last)
		case word == "HEALTHCHECK":
			_, rest, _ = strings.Cut(rest, "CMD ")
		case word == "ADD", word == "RUN" && last["FROM"] == "scratch":
			l.complain(file, "%s", line)
		}
		last[word] = rest
	}
	user := strconv.Itoa(imageUser)
	if last["FROM"] != "scratch" || last["USER"] != user+":"+user {
		l.complain(file, "the image is from %q, its user %q", last["FROM"], last["USER"])
	}
	entry, command, health := words(last["ENTRYPOINT"]), words(last["CMD"]), words(last["HEALTHCHECK"])
	if len(entry) != 1 || !strings.HasSuffix(last["COPY"], " "+entry[0]) || len(health) != 2 || health[0] != entry[0] || !strings.Contains(l.commands(ctx), " "+health[1]+" ") {
		l.complain(file, "starts %q, copies %q and checks %q", entry, last["COPY"], health)
	}
	name, value, _ := strings.Cut(last["ENV"], "=")
	l.settings(ctx, file, command, map[string]string{name: value})
	return nil
}

// words reads the form of a command that needs no shell; nil: it is another one.
func words(form string) []string {
	var list []string
	if json.Unmarshal([]byte(form), &list) != nil {
		return nil
	}
	return list
}
