package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// completionCmd prints what a shell has to be told. It knows no command and no flag: at each completion the shell asks the
// program, so there is no list that could be an old one.
type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Help implements kong.HelpProvider.
func (*completionCmd) Help() string {
	return "For bash: source <(cloakroom completion bash). For zsh, after compinit: source <(cloakroom completion zsh). For fish: cloakroom completion fish | source. " +
		"In the file that the shell starts with, it lasts."
}

// Run implements the command completion.
func (c *completionCmd) Run(a *app) error {
	script := map[string]string{"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}[c.Shell]
	if _, err := fmt.Fprint(a.stdout, script); err != nil {
		return fmt.Errorf("print the completion: %w", err)
	}
	return nil
}

// The scripts. Where the program has nothing to say, they complete names of files.
const (
	bashCompletion = `_cloakroom() {
    local IFS=$'\n'
    COMPREPLY=($("${COMP_WORDS[0]}" complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null | cut -f1))
}
complete -o default -F _cloakroom cloakroom
`
	zshCompletion = `#compdef cloakroom
_cloakroom() {
    local -a found
    found=(${(f)"$("${words[1]}" complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)"})
    if (( ${#found} )); then
        found=("${(@)${(@)found//:/\\:}/$'\t'/:}")
        _describe cloakroom found
    else
        _files
    fi
}
compdef _cloakroom cloakroom
`
	fishCompletion = `complete -c cloakroom -a '(cloakroom complete -- (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null)'
`
)

// completeCmd is what the scripts call.
type completeCmd struct {
	Words []string `arg:"" optional:"" help:"What was typed, without the program's name; the last word is the one to complete."`
}

// Run implements the command complete: a line for each word that could stand there, with a tab and what it is.
func (c *completeCmd) Run(ctx *kong.Context, a *app) error {
	for _, found := range candidates(ctx.Model.Node, apart(c.Words)) {
		line := found.word
		if found.help != "" {
			line += "\t" + found.help
		}
		if _, err := fmt.Fprintln(a.stdout, line); err != nil {
			return fmt.Errorf("print completions: %w", err)
		}
	}
	return nil
}

type candidate struct{ word, help string }

// candidates returns what could stand in place of the last word, if it begins like that; none: the name of a file, or
// something that only the user knows.
func candidates(at *kong.Node, words []string) []candidate {
	if len(words) == 0 {
		words = []string{""}
	}
	last := words[len(words)-1]
	positional := 0
	var open *kong.Flag // waits for its value
	for _, word := range words[:len(words)-1] {
		switch child := childOf(at, word); {
		case open != nil:
			open = nil
		case strings.HasPrefix(word, "-"):
			if flag := flagOf(at, word); flag != nil && !flag.IsBool() && !strings.Contains(word, "=") {
				open = flag
			}
		case child != nil:
			at, positional = child, 0
		default:
			positional++
		}
	}
	all := candidatesAt(at, positional, open, last)
	return slices.DeleteFunc(all, func(c candidate) bool { return !strings.HasPrefix(c.word, last) })
}

// candidatesAt returns what could stand at a place: after so many arguments of the command, as the value of a flag, or as
// another flag.
func candidatesAt(at *kong.Node, positional int, open *kong.Flag, last string) (all []candidate) {
	name, value, assigned := strings.Cut(last, "=")
	switch {
	case open != nil:
		return valuesOf(open.Value, "")
	case strings.HasPrefix(last, "-") && assigned:
		if flag := flagOf(at, name); flag != nil {
			return valuesOf(flag.Value, strings.TrimSuffix(last, value))
		}
	case strings.HasPrefix(last, "-"):
		for _, flag := range flagsOf(at) {
			all = append(all, candidate{"--" + flag.Name, flag.Help})
		}
	case at.Name == "help":
		return commandsOf(rootOf(at))
	case len(at.Children) > 0:
		return commandsOf(at)
	case positional < len(at.Positional):
		return valuesOf(at.Positional[positional], "")
	}
	return all
}

func commandsOf(at *kong.Node) (all []candidate) {
	for _, child := range at.Children {
		if !child.Hidden {
			all = append(all, candidate{child.Name, child.Help})
		}
	}
	return all
}

func rootOf(at *kong.Node) *kong.Node {
	for at.Parent != nil {
		at = at.Parent
	}
	return at
}

// apart drops the sign between a flag and its value where it is a word of its own: bash takes them apart there, and wants
// nothing but the value.
func apart(words []string) (kept []string) {
	for i, word := range words {
		if word == "=" && i > 0 && strings.HasPrefix(words[i-1], "--") {
			if i+1 == len(words) {
				kept = append(kept, "")
			}
			continue
		}
		kept = append(kept, word)
	}
	return kept
}

// valuesOf returns the words of which a value has to be one.
func valuesOf(v *kong.Value, prefix string) (all []candidate) {
	if v.Enum == "" {
		return nil
	}
	for _, word := range v.EnumSlice() {
		all = append(all, candidate{word: prefix + word})
	}
	return all
}

func childOf(at *kong.Node, name string) *kong.Node {
	for _, child := range at.Children {
		if child.Name == name {
			return child
		}
	}
	return nil
}

// flagsOf returns the flags that can stand at a place. Without a command they are those of serve, too.
func flagsOf(at *kong.Node) (flags []*kong.Flag) {
	if at.Parent == nil {
		at = cmp.Or(childOf(at, "serve"), at)
	}
	for _, group := range at.AllFlags(true) {
		flags = append(flags, group...)
	}
	return flags
}

func flagOf(at *kong.Node, word string) *kong.Flag {
	name, _, _ := strings.Cut(word, "=")
	for _, flag := range flagsOf(at) {
		if name == "--"+flag.Name || flag.Short != 0 && name == "-"+string(flag.Short) {
			return flag
		}
	}
	return nil
}
