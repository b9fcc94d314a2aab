package main

import (
	"context"
	"slices"

	"github.com/unleak/unleak/finding"
	"github.com/unleak/unleak/internal/report"
)

// The exit codes, from the least to what outranks all others.
const (
	exitClean       = 0   // everything was read; nothing found, or every key found is proven dead
	exitLeak        = 1   // a leak was found, or a found key is not proven dead
	exitIncomplete  = 2   // the answer is incomplete, or the command line was a mistake
	exitInterrupted = 130 // as a shell reports a process that ended by ^C
)

// exitCode returns the code for what a command reported and the error it ended
// with. A command that reports nothing has a nil result.
func exitCode(ctx context.Context, result *report.Report, err error) int {
	switch {
	case err != nil && ctx.Err() != nil:
		return exitInterrupted
	case err != nil, result != nil && !result.Complete:
		return exitIncomplete
	case result != nil && slices.ContainsFunc(result.Findings, leaks):
		return exitLeak
	}
	return exitClean
}

// leaks reports whether a key is not known to be dead.
func leaks(e report.Entry) bool {
	return e.Response == nil || e.Response.Status != finding.StatusDead
}
