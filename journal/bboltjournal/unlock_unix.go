//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package bboltjournal

import (
	"os"
	"syscall"
)

// unlock gives the file's lock up. Closing alone does not while the file is mapped into memory.
func unlock(file *os.File) { _ = syscall.Flock(int(file.Fd()), syscall.LOCK_UN) }
