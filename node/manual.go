package main

import (
	"fmt"
	"strings"

	"github.com/alecthomas/kong"
)

// manualCmd prints the manual: the commands and their flags as the grammar has them, so it can't tell of others.
type manualCmd struct {
	Format string `default:"man" enum:"man,markdown" placeholder:"FORMAT" help:"man, for man(1), or markdown."`
}

// Help implements kong.HelpProvider.
func (*manualCmd) Help() string {
	return "To read it: cloakroom manual | man -l -. To install it: cloakroom manual > /usr/local/share/man/man1/cloakroom.1"
}

// Run implements the command manual.
func (m *manualCmd) Run(ctx *kong.Context, a *app) error {
	var page pageWriter = &manPage{}
	if m.Format == "markdown" {
		page = &markdownPage{}
	}
	writeManual(page, ctx.Model)
	if _, err := fmt.Fprint(a.stdout, page.text()); err != nil {
		return fmt.Errorf("print the manual: %w", err)
	}
	return nil
}

// pageWriter is a form that the manual can have.
type pageWriter interface {
	title(name, what string)
	chapter(name string)
	command(usage string)
	paragraph(text string)
	entry(term, text string)
	text() string
}

func writeManual(p pageWriter, model *kong.Application) {
	p.title(model.Name, "a clustered session store")
	p.chapter("Synopsis")
	p.paragraph(model.Name + " COMMAND [FLAGS]")
	p.paragraph("Without a command, " + model.Name + " runs a node: it is serve.")
	p.chapter("Commands")
	commands := model.Leaves(true)
	for _, command := range commands {
		p.command(usageOf(command))
		p.paragraph(strings.TrimSpace(command.Help + " " + command.Detail))
		for _, argument := range command.Positional {
			p.entry(argument.Name, argument.Help)
		}
		if command.Name == "doctor" { // serve's, once more
			p.paragraph("It takes the flags of serve.")
		}
		for _, flag := range command.Flags {
			if !flag.Hidden && (command.Name != "doctor" || !isOf(commands, "serve", flag.Name)) {
				p.entry(flagTerm(flag), explainFlag(flag.Value))
			}
		}
	}
	p.chapter("Every command")
	for _, flag := range model.Flags {
		p.entry(flagTerm(flag), explainFlag(flag.Value))
	}
	p.chapter("Environment and configuration")
	p.paragraph("A flag that names a variable in brackets can be given by it, and one of serve by a line of the file that --config names as well. Flags win over variables, and those over the file.")
	p.chapter("Exit status")
	p.entry(fmt.Sprint(exitStopped), "Done, or stopped in good order.")
	p.entry(fmt.Sprint(exitFailed), "Failed while it ran, or could not listen on an address that is in use or not there.")
	p.entry("2", "Broken down, by a mistake in the program.")
	p.entry(fmt.Sprint(exitWrong), "Used or configured wrongly: nothing was begun.")
}

// isOf reports whether a command has a flag of that name.
func isOf(commands []*kong.Node, command, name string) bool {
	for _, c := range commands {
		for _, flag := range c.Flags {
			if c.Name == command && flag.Name == name {
				return true
			}
		}
	}
	return false
}

// usageOf is how a command is called, without its flags.
func usageOf(command *kong.Node) string {
	words := []string{command.FullPath()}
	for _, argument := range command.Positional {
		words = append(words, argument.Summary())
	}
	return strings.Join(words, " ")
}

func flagTerm(flag *kong.Flag) string {
	term := "--" + flag.Name
	if flag.Short != 0 {
		term = "-" + string(flag.Short) + ", " + term
	}
	if !flag.IsBool() {
		term += "=" + flag.FormatPlaceHolder()
	}
	return term
}

// manPage writes for the macros of man(7).
type manPage struct{ strings.Builder }

func (m *manPage) text() string { return m.String() }

func (m *manPage) line(format string, args ...any) {
	m.WriteString(fmt.Sprintf(format, args...) + "\n")
}

func (m *manPage) title(name, what string) {
	m.line(`.TH %s 1 "" "" "%s"`, strings.ToUpper(name), what)
	m.line(".SH NAME\n%s \\- %s", name, what)
}

func (m *manPage) chapter(name string)  { m.line(".SH %s", strings.ToUpper(name)) }
func (m *manPage) command(usage string) { m.line(".SS %s", escaped(usage)) }
func (m *manPage) paragraph(text string) {
	m.line(".PP\n%s", escaped(text))
}

func (m *manPage) entry(term, text string) { m.line(".TP\n.B %s\n%s", escaped(term), escaped(text)) }

// escaped keeps text from being read as macros, and hyphens as they are.
func escaped(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text)
	if strings.HasPrefix(text, ".") || strings.HasPrefix(text, "'") {
		text = `\&` + text
	}
	return text
}

// markdownPage writes for readers of the documents.
type markdownPage struct {
	strings.Builder
	listing bool // the last block is an entry, which the next one follows at once
}

func (m *markdownPage) text() string { return m.String() }

func (m *markdownPage) block(format string, args ...any) {
	if m.Len() > 0 {
		m.WriteByte('\n')
	}
	m.WriteString(fmt.Sprintf(format, args...) + "\n")
	m.listing = false
}

func (m *markdownPage) title(name, what string) { m.block("# %s: %s", name, what) }
func (m *markdownPage) chapter(name string)     { m.block("## %s", name) }
func (m *markdownPage) command(usage string)    { m.block("### `%s`", usage) }
func (m *markdownPage) paragraph(text string)   { m.block("%s", plain(text)) }

func (m *markdownPage) entry(term, text string) {
	if !m.listing {
		m.block("- `%s`: %s", term, plain(text))
		m.listing = true
		return
	}
	m.WriteString("- `" + term + "`: " + plain(text) + "\n")
}

// plain keeps text from being read as Markdown.
func plain(text string) string {
	return strings.NewReplacer("<", `\<`, "*", `\*`, "_", `\_`).Replace(text)
}
