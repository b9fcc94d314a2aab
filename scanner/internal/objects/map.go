package objects

import (
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
)

// mappableSize returns the size of f. It refuses what is no regular file: a
// pipe that is called pack-….pack would block for ever.
func mappableSize(f *os.File) (int, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if !info.Mode().IsRegular() {
		return 0, fmt.Errorf("%s is not a regular file", f.Name())
	}
	if info.Size() > math.MaxInt {
		return 0, fmt.Errorf("%s is too large for the address space", f.Name())
	}
	return int(info.Size()), nil
}

var errShrunk = errors.New("the file became shorter while it was read")

// recoverFault turns the fault of reading a mapped file behind its end into an
// error. It must be deferred, in a goroutine that asked for a panic instead of
// a crash with [debug.SetPanicOnFault].
func recoverFault(err *error) {
	switch r := recover().(type) {
	case nil:
	case interface {
		runtime.Error
		Addr() uintptr
	}:
		*err = errShrunk
	default:
		panic(r)
	}
}
