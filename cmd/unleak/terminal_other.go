//go:build !windows

package main

import "os"

// obeysEscapes reports whether the terminal f understands escape sequences.
func obeysEscapes(*os.File) bool { return true }
