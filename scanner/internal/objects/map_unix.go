//go:build unix

package objects

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// mapFile maps the file into memory, read only. The returned function unmaps
// it. An empty file maps to no bytes.
func mapFile(path string) ([]byte, func() error, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close() // the map outlives the descriptor
	size, err := mappableSize(f)
	if err != nil || size == 0 {
		return nil, func() error { return nil }, err
	}
	data, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, nil, fmt.Errorf("map %s: %w", path, err)
	}
	return data, func() error { return unix.Munmap(data) }, nil
}
