package responder

import (
	"errors"
	"os"

	"golang.org/x/sys/windows"
)

// lockedByte is a byte far behind the end of the file: on Windows a lock keeps
// others from reading what is locked.
var lockedByte = windows.Overlapped{OffsetHigh: 0x7fffffff}

// tryLockFile takes the exclusive lock of file, if nobody else has it.
func tryLockFile(file *os.File) (bool, error) {
	at := lockedByte
	err := windows.LockFileEx(windows.Handle(file.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &at)
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) || errors.Is(err, windows.ERROR_IO_PENDING) {
		return false, nil
	}
	return err == nil, err
}

func unlockFile(file *os.File) error {
	at := lockedByte
	return windows.UnlockFileEx(windows.Handle(file.Fd()), 0, 1, 0, &at)
}

// syncDir does nothing: Windows keeps names without being told.
func syncDir(string) error { return nil }
