package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/unleak/unleak/internal/report"
)

// An app is one run of the program.
type app struct {
	getenv         func(string) string
	stdout, stderr io.Writer
	result         *report.Report // what the command reported; decides the exit code
}

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "unleak",
		Short: "Find leaked OpenAI keys, revoke them, prove them dead, file the issue",
		Long: `unleak finds leaked OpenAI keys in everything that a git repository holds: every
branch, every commit, and what no branch leads to any more.`,
		Args:          unknownCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.DisableFlagsInUseLine = true
	root.SuggestionsMinimumDistance = 2
	root.SetFlagErrorFunc(flagMistake)
	root.SetHelpCommand(helpCommand())
	root.AddCommand(a.scanCommand(), a.respondCommand(), a.demoCommand(), a.versionCommand())
	return root
}

// helpCommand stands in for cobra's, which repeats what it does not know as it
// is and calls that a success.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Tell how a command is used",
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err != nil {
				return err
			}
			if len(rest) > 0 {
				return unknownCommand(cmd.Root(), rest)
			}
			return about.Help()
		},
	}
}

// mistake returns the error of a command line that cannot be meant: what is
// wrong with it, and where to read how it is done.
func mistake(cmd *cobra.Command, format string, args ...any) error {
	return fmt.Errorf("%w\nrun '%s --help' to see how it is used", fmt.Errorf(format, args...), cmd.CommandPath())
}

// noArguments accepts none.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return mistake(cmd, "'%s' takes no argument, and %q was given", cmd.CommandPath(), args[0])
	}
	return nil
}

func unknownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		return mistake(cmd, "there is no command %q; did you mean '%s %s'?", args[0], cmd.CommandPath(), near[0])
	}
	return mistake(cmd, "there is no command %q; to scan a directory, say '%s scan DIRECTORY'", args[0], cmd.CommandPath())
}

func flagMistake(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	var invalid *pflag.InvalidValueError
	switch {
	case errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() == "":
		name := unknown.GetSpecifiedName()
		if near := nearest(name, cmd.Flags()); near != "" {
			return mistake(cmd, "there is no flag --%s; did you mean --%s?", name, near)
		}
		return mistake(cmd, "there is no flag --%s", name)
	case errors.As(err, &invalid):
		return mistake(cmd, "--%s %q: %w", invalid.GetFlag().Name, invalid.GetValue(), invalid.Unwrap())
	}
	return mistake(cmd, "%w", err)
}

// nearest returns the flag whose name looks most like name, or "".
func nearest(name string, flags *pflag.FlagSet) string {
	best, distance := "", 3
	flags.VisitAll(func(f *pflag.Flag) {
		if d := edits(name, f.Name); d < distance {
			best, distance = f.Name, d
		}
	})
	return best
}

// edits returns how many letters have to be added, dropped or changed to make
// b of a.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
