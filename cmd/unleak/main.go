// Command unleak finds leaked OpenAI keys, revokes them, proves them dead and
// files the issue.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/unleak/unleak/finding"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the first signal ends the work, a second one the process
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stdin, os.Stdout, os.Stderr))
}

// run is the whole program: it does what args ask for and returns the exit code.
func run(ctx context.Context, args []string, getenv func(string) string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{getenv: getenv, stdout: stdout, stderr: stderr}
	return a.run(ctx, args, stdin)
}

// run does what args ask for and returns the exit code.
func (a *app) run(ctx context.Context, args []string, stdin io.Reader) int {
	root := a.rootCommand()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	err := root.ExecuteContext(ctx)
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("interrupted: %w", err)
	}
	if err != nil {
		for line := range strings.Lines(err.Error()) {
			fmt.Fprintln(a.stderr, "unleak:", finding.Printable(strings.TrimSuffix(line, "\n")))
		}
	}
	return exitCode(ctx, a.result, err)
}
