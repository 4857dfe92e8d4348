package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// mutant is the source with one defect.
type mutant struct {
	name string // the file without its ending, a slash, and what is wrong
	file string // from the root of the repository
	old  string // what is replaced; it occurs in the file once, unless nth says which occurrence is meant, counted from 1
	nth  int
	new  string
	why  string // why that is a defect
}

// mutants is the whole list.
var mutants = slices.Concat(guardMutants, purchaseMutants, journalMutants, memoryMutants, wireMutants, serverMutants)

// source returns the file with the defect.
func (m *mutant) source(root string) ([]byte, error) {
	data, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(m.file)))
	if err != nil {
		return nil, fmt.Errorf("mutant %s: %w", m.name, err)
	}
	text, err := m.edit(string(data))
	if err != nil {
		return nil, fmt.Errorf("mutant %s: %s: %w", m.name, m.file, err)
	}
	return []byte(text), nil
}

// edit replaces the text.
func (m *mutant) edit(text string) (string, error) {
	found := strings.Count(text, m.old)
	switch {
	case m.old == "" || m.old == m.new:
		return "", fmt.Errorf("nothing is replaced")
	case found == 0:
		return "", fmt.Errorf("there is no %q", m.old)
	case m.nth == 0 && found > 1:
		return "", fmt.Errorf("%q occurs %d times; say with nth which is meant", m.old, found)
	case m.nth > found:
		return "", fmt.Errorf("%q occurs %d times, not %d", m.old, found, m.nth)
	}
	at := 0
	for n := 1; ; n++ {
		at += strings.Index(text[at:], m.old)
		if n >= m.nth {
			return text[:at] + m.new + text[at+len(m.old):], nil
		}
		at += len(m.old)
	}
}

// overlay writes the mutant into dir, and returns the file for go's flag -overlay.
func (m *mutant) overlay(root, dir string) (string, error) {
	source, err := m.source(root)
	if err != nil {
		return "", err
	}
	replaced, mutated := filepath.Join(root, filepath.FromSlash(m.file)), filepath.Join(dir, "mutant.go")
	if err := os.WriteFile(mutated, source, 0o600); err != nil {
		return "", err
	}
	data, err := json.Marshal(map[string]map[string]string{"Replace": {replaced: mutated}})
	if err != nil {
		return "", err
	}
	overlay := filepath.Join(dir, "overlay.json")
	return overlay, os.WriteFile(overlay, data, 0o600)
}

// inServer reports whether the defect is in the embedded server.
func (m *mutant) inServer() bool { return strings.HasPrefix(m.file, "letagentpaytest/") }
