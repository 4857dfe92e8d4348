//go:build !unix

package bboltjournal

import "io/fs"

// hasModes reports whether files have an owner and modes. Here the folder decides who may read them.
const hasModes = false

func ownerOf(fs.FileInfo) (user int, known bool) { return 0, false }
