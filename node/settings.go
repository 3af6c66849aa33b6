package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"
)

// settings gives the flags that the command line leaves open their values, from the environment first and then from
// the configuration file. It is the only place that knows this order.
type settings struct {
	lookup func(string) (string, bool) // the environment
	file   map[string]fileValue        // by flag name
	source map[string]string           // where the value of a flag was taken from, for messages
}

// fileValue is one line of the configuration file.
type fileValue struct {
	text  string
	where string // FILE:LINE
}

var _ kong.Resolver = (*settings)(nil)

// envName returns the environment variable of a flag. An empty variable counts as unset, as container runners leave
// them behind.
func envName(flag string) string {
	return "CLOAKROOM_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// hasEnv reports whether a flag can come from the environment: those that describe a node or the way to one, not those
// that say what one command shall do.
func hasEnv(flag *kong.Flag) bool { return flag.Group != nil }

// Validate has nothing to add: unknown keys were refused when the file was read.
func (*settings) Validate(*kong.Application) error { return nil }

// Resolve implements kong.Resolver.
func (s *settings) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	if !hasEnv(flag) || flag.Name == "config" { // the file's own name is known by now
		return nil, nil
	}
	if text, ok := s.lookup(envName(flag.Name)); ok && text != "" {
		s.source[flag.Name] = envName(flag.Name)
		return text, nil
	}
	if value, ok := s.file[flag.Name]; ok {
		s.source[flag.Name] = value.where
		return value.text, nil
	}
	return nil, nil
}

// explain adds to an error about a flag where its value came from, if that was not the command line.
func (s *settings) explain(err error) error {
	if err == nil {
		return nil
	}
	if wrong, ok := errors.AsType[*FlagError](err); ok {
		if source, ok := s.source[wrong.Flag]; ok {
			return fmt.Errorf("%w (set by %s)", err, source)
		}
		return err
	}
	for flag, source := range s.source {
		if strings.HasPrefix(err.Error(), "--"+flag+":") || strings.HasPrefix(err.Error(), "--"+flag+" ") {
			return fmt.Errorf("%w (set by %s)", err, source)
		}
	}
	return err
}

// readConfigFile reads a YAML file of flag names and values. known are the flags that it may set.
func readConfigFile(path string, known map[string]bool) (map[string]fileValue, error) {
	data, _, err := readSmall(path, MaxConfigFile)
	if err != nil {
		return nil, fmt.Errorf("read the configuration: %w", err)
	}
	return parseConfig(path, data, known)
}

func parseConfig(path string, data []byte, known map[string]bool) (map[string]fileValue, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("%s: %s", path, strings.ReplaceAll(err.Error(), "\n", " "))
	}
	values := make(map[string]fileValue)
	if doc.Kind == 0 { // an empty file
		return values, nil
	}
	p := &configParser{path: path, known: known, values: values}
	if err := p.mapping(doc.Content[0], p.top); err != nil {
		return nil, err
	}
	return values, nil
}

// configParser walks the YAML tree, so that each complaint has its line.
type configParser struct {
	path   string
	known  map[string]bool
	values map[string]fileValue
}

func (p *configParser) errorf(node *yaml.Node, format string, args ...any) error {
	return fmt.Errorf("%s: %s", p.where(node), fmt.Sprintf(format, args...))
}

func (p *configParser) where(node *yaml.Node) string { return fmt.Sprintf("%s:%d", p.path, node.Line) }

// mapping calls visit for each pair of a mapping, refusing a key that is there twice.
func (p *configParser) mapping(node *yaml.Node, visit func(key, value *yaml.Node) error) error {
	if node.Kind == yaml.ScalarNode && node.Tag == "!!null" {
		return nil
	}
	if node.Kind != yaml.MappingNode {
		return p.errorf(node, "lines of the form key: value are needed here")
	}
	seen := make(map[string]bool)
	for i := 0; i+1 < len(node.Content); i += 2 {
		key := node.Content[i]
		if seen[key.Value] {
			return p.errorf(key, "%s is set twice", key.Value)
		}
		seen[key.Value] = true
		if err := visit(key, node.Content[i+1]); err != nil {
			return err
		}
	}
	return nil
}

func (p *configParser) top(key, value *yaml.Node) error {
	if key.Value == "api-gateway" {
		return p.mapping(value, p.apiGateway)
	}
	if !p.known[key.Value] {
		return p.errorf(key, "unknown key %q", key.Value)
	}
	text, err := p.text(key.Value, value)
	if err != nil || text == "" {
		return err
	}
	return p.set(key.Value, key, text)
}

// apiGateway takes the one setting that Fusion's values.yaml has for sessions.
func (p *configParser) apiGateway(key, value *yaml.Node) error {
	if key.Value != "jwtExpirationSecs" {
		return p.errorf(key, "unknown key %q: of api-gateway only jwtExpirationSecs is known", key.Value)
	}
	seconds, err := strconv.ParseInt(value.Value, 10, 32)
	if err != nil || seconds <= 0 {
		return p.errorf(value, "jwtExpirationSecs: %q is not a positive number of seconds", value.Value)
	}
	return p.set("idle-timeout", key, strconv.FormatInt(seconds, 10)+"s")
}

func (p *configParser) set(flag string, key *yaml.Node, text string) error {
	if other, twice := p.values[flag]; twice {
		return p.errorf(key, "the %s is set by %s already", flag, other.where)
	}
	p.values[flag] = fileValue{text: text, where: p.where(key)}
	return nil
}

// text returns a value as the command line would have it: a list is joined by commas, nothing is "".
func (p *configParser) text(key string, value *yaml.Node) (string, error) {
	switch {
	case value.Kind == yaml.AliasNode:
		return p.text(key, value.Alias)
	case value.Kind == yaml.ScalarNode && value.Tag == "!!null":
		return "", nil
	case value.Kind == yaml.ScalarNode:
		return value.Value, nil
	case value.Kind == yaml.SequenceNode:
		parts := make([]string, 0, len(value.Content))
		for _, item := range value.Content {
			if item.Kind != yaml.ScalarNode {
				return "", p.errorf(item, "%s: a list of plain values is needed", key)
			}
			parts = append(parts, item.Value)
		}
		return strings.Join(parts, ","), nil
	}
	return "", p.errorf(value, "%s: a plain value or a list is needed", key)
}
