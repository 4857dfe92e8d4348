//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package bboltjournal

import "os"

// unlock does nothing: closing a file releases its lock here.
func unlock(*os.File) {}
