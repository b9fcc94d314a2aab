package main

import (
	"cmp"
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  noArguments,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(a.stdout, "unleak", version(), origin())
			return err
		},
	}
}

// version returns the module's version, or "(devel)" where it was not built from
// a version that is known.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "(devel)"
	}
	return cmp.Or(info.Main.Version, "(devel)")
}

// origin returns what else is known of how the program was built, in parentheses.
func origin() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "(build information is missing)"
	}
	parts := []string{info.GoVersion}
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			parts = append(parts, s.Value[:min(len(s.Value), 12)])
		case s.Key == "vcs.modified" && s.Value == "true":
			parts = append(parts, "dirty")
		}
	}
	return "(" + strings.Join(parts, ", ") + ")"
}
