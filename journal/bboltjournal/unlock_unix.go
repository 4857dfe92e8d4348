//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package bboltjournal

import (
	"os"
	"syscall"
)

// unlock releases the file's lock. Closing alone does not release it while the file is mapped into memory.
func unlock(file *os.File) { _ = syscall.Flock(int(file.Fd()), syscall.LOCK_UN) }
