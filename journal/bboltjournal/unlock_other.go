//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package bboltjournal

import "os"

// unlock does nothing where closing a file gives its lock up.
func unlock(*os.File) {}
