// Command cloakroom is the program: it turns the command line, the environment and a file into one Config, wires the
// other packages into a Node, and holds the commands for operators. It decides nothing about sessions; that is theirs.
package main

import (
	"context"
	"os"
)

func main() {
	a := &app{
		stdin:  os.Stdin,
		stdout: os.Stdout,
		stderr: os.Stderr,
		lookup: os.LookupEnv,
		exit:   os.Exit,
	}
	os.Exit(a.main(context.Background(), os.Args[1:]))
}
