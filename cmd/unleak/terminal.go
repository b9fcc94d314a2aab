package main

import (
	"io"
	"os"

	"golang.org/x/term"
)

// terminal returns the terminal behind w, or nil.
func terminal(w io.Writer) *os.File {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) || !obeysEscapes(f) {
		return nil
	}
	return f
}

// appearance says whether standard output takes colour, and how wide it is.
func (a *app) appearance(f scanFlags) (color bool, width int) {
	tty := terminal(a.stdout)
	if tty == nil {
		return false, 0
	}
	width, _, err := term.GetSize(int(tty.Fd()))
	if err != nil {
		width = 0
	}
	return !f.noColor && a.getenv("NO_COLOR") == "" && a.getenv("TERM") != "dumb", min(width, 100)
}
