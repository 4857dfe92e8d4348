package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// mutant is the source with one defect.
type mutant struct {
	name string // the file without its extension, a slash, and the defect
	file string // relative to the root of the repository
	// the text to replace; it occurs in the file once, unless nth selects an occurrence, counted from 1
	old string
	nth int
	new string
	why string // why the change is a defect
}

// mutants is the whole list.
var mutants = slices.Concat(guardMutants, purchaseMutants, journalMutants, memoryMutants, wireMutants, serverMutants)

// find returns the offset of the defect in the text of its file.
func (m *mutant) find(text string) (int, error) {
	found := strings.Count(text, m.old)
	switch {
	case m.old == "" || m.old == m.new:
		return 0, errors.New("nothing is replaced")
	case found == 0:
		return 0, fmt.Errorf("there is no %q", m.old)
	case m.nth == 0 && found > 1:
		return 0, fmt.Errorf("%q occurs %d times; say with nth which is meant", m.old, found)
	case m.nth > found:
		return 0, fmt.Errorf("%q occurs %d times, not %d", m.old, found, m.nth)
	}
	at := strings.Index(text, m.old)
	for range m.nth - 1 {
		at += len(m.old)
		at += strings.Index(text[at:], m.old)
	}
	return at, nil
}

// source returns the file with the defect.
func (m *mutant) source(root string) ([]byte, error) {
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(m.file)))
	if err != nil {
		return nil, fmt.Errorf("mutant %s: %w", m.name, err)
	}
	at, err := m.find(string(text))
	if err != nil {
		return nil, fmt.Errorf("mutant %s: %s: %w", m.name, m.file, err)
	}
	return slices.Concat(text[:at], []byte(m.new), text[at+len(m.old):]), nil
}

const (
	rootPackage    = "."
	journalPackage = "./journal"
	boltPackage    = "./journal/bboltjournal"
	serverPackage  = "./letagentpaytest"
	locksPackage   = "./internal/keylock"
)

// packages returns the packages whose tests should detect the defect, the most likely first.
func (m *mutant) packages() []string {
	if strings.HasPrefix(m.file, "letagentpaytest/") {
		return []string{serverPackage, rootPackage}
	}
	if strings.HasPrefix(m.file, "journal/bboltjournal/") {
		return []string{boltPackage}
	}
	if strings.HasPrefix(m.file, "journal/") {
		return []string{journalPackage, boltPackage, rootPackage}
	}
	if strings.HasPrefix(m.file, "internal/keylock/") {
		return []string{locksPackage, rootPackage}
	}
	return []string{rootPackage, boltPackage, serverPackage}
}
