//go:build unix

package bboltjournal

import (
	"io/fs"
	"syscall"
)

// hasModes reports whether files have an owner and modes.
const hasModes = true

// ownerOf returns the id of the user who owns a file.
func ownerOf(info fs.FileInfo) (user int, known bool) {
	stat, known := info.Sys().(*syscall.Stat_t)
	if !known {
		return 0, false
	}
	return int(stat.Uid), true
}
