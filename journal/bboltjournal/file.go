package bboltjournal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
)

const fileMode = 0o600

// locate returns the path under which the file can be found even after a change of the working directory. It is not
// cleaned: where link is a symbolic link, link/../journal is not journal.
func locate(path string) (string, error) {
	if filepath.IsAbs(path) {
		return path, nil
	}
	if runtime.GOOS == "windows" { // where a path may be relative to a drive
		return filepath.Abs(path)
	}
	folder, err := os.Getwd()
	return folder + string(filepath.Separator) + path, err
}

// openFile opens the file for bbolt, or creates it. It does not change an existing one.
func (j *Journal) openFile(path string, flag int, mode os.FileMode) (*os.File, error) {
	file, err := os.OpenFile(path, flag, mode)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = paramError("Open path", j.path, "want the path of a regular file, or of none")
	}
	if err == nil {
		err = checkOwner(j.path, info, os.Geteuid())
	}
	if err != nil {
		_ = file.Close() // err is the cause
		return nil, err
	}
	j.file, j.info = file, info
	return file, nil
}

// checkOwner refuses a file of another user, who could read it in any mode.
func checkOwner(path string, info fs.FileInfo, user int) error {
	if owner, known := ownerOf(info); known && owner != user {
		err := fmt.Errorf("it belongs to the user %d, and this process runs as the user %d", owner, user)
		return &UnsafeError{Path: path, Mode: info.Mode(), Err: err}
	}
	return nil
}

// tightenable is what [tighten] needs of an [os.File].
type tightenable interface {
	Stat() (fs.FileInfo, error)
	Chmod(mode fs.FileMode) error
}

// tighten lets only the owner read and write the file. It changes the open file, so that it is the same one. It must
// come after the check that the file is a journal: what a link or a wrong path leads to is not changed.
func tighten(path string, file tightenable) error {
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("bboltjournal: %w", err)
	}
	if !hasModes || private(info) {
		return nil
	}
	refused := &UnsafeError{Path: path, Mode: info.Mode()}
	if refused.Err = file.Chmod(fileMode); refused.Err != nil {
		return refused
	}
	if info, err = file.Stat(); err != nil {
		return fmt.Errorf("bboltjournal: %w", err)
	}
	if !private(info) { // some file systems accept a change of the mode without making it
		refused.Err = fmt.Errorf("its file system does not change its mode to %v", fs.FileMode(fileMode))
		return refused
	}
	return nil
}

func private(info fs.FileInfo) bool { return info.Mode().Perm()&^fileMode == 0 }

// present checks that the path still leads to the open file, so that what is written into it will be found, and that
// the file has the size that the database needs.
func (j *Journal) present(size int64) error {
	info, err := os.Stat(j.location)
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR):
		return &ReplacedError{Path: j.path, Err: err}
	case err != nil:
		return fmt.Errorf("bboltjournal: %w", err)
	case !os.SameFile(info, j.info):
		return &ReplacedError{Path: j.path}
	case info.Size() < size:
		return &CorruptError{Path: j.path, Err: fmt.Errorf("it has %d bytes of %d", info.Size(), size)}
	}
	return nil
}

// syncFolder makes a new file's name survive a power failure, as its content does.
func syncFolder(path string) error {
	if runtime.GOOS == "windows" {
		return nil // folders cannot be synced there, and need not be
	}
	name, err := folderOf(path)
	if err != nil {
		return fmt.Errorf("bboltjournal: %w", err)
	}
	folder, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("bboltjournal: %w", err)
	}
	err = folder.Sync()
	if closeErr := folder.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("bboltjournal: %w", err)
	}
	return nil
}

// folderOf returns the folder that holds the file's name: if path is a link, that of the file it leads to.
func folderOf(path string) (string, error) {
	path, err := filepath.EvalSymlinks(path)
	return filepath.Dir(path), err
}
