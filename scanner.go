package letagentpay

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
)

// scanner goes through JSON that is known to be valid, once. On other input it ends as well, in an error or not.
type scanner struct {
	data []byte
	at   int
	// The members so far of all objects that are open: as many as an ordinary answer has, and what is beyond them.
	keys [32]key
	more []key
	open int
}

// key is where the name of a member stands, without its quotes.
type key struct {
	hash       uint32 // of the folded name
	start, end uint32
}

func (s *scanner) key(i int) key {
	if i < len(s.keys) {
		return s.keys[i]
	}
	return s.more[i-len(s.keys)]
}

func (s *scanner) push(k key) {
	if s.open < len(s.keys) {
		s.keys[s.open] = k
	} else {
		s.more = append(s.more[:s.open-len(s.keys)], k)
	}
	s.open++
}

// value reads the value that comes next and reports whether it is null.
func (s *scanner) value(want *shape, depth int) (null bool, err error) {
	if depth > maxDepth {
		return false, errTooDeep
	}
	switch s.peek() {
	case '{':
		return false, s.object(want, depth)
	case '[':
		return false, s.array(want, depth)
	case '"':
		s.skipText()
		return false, nil
	case 'n':
		s.at += len("null")
		return true, nil
	default:
		s.scalar()
		return false, nil
	}
}

// scalar skips a number, true or false.
func (s *scanner) scalar() {
	for s.at++; s.at < len(s.data); s.at++ {
		switch s.data[s.at] {
		case ',', ']', '}', ' ', '\t', '\r', '\n':
			return
		}
	}
}

// peek skips white space and returns the byte that comes next, or 0 at the end.
func (s *scanner) peek() byte {
	for ; s.at < len(s.data); s.at++ {
		if c := s.data[s.at]; c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			return c
		}
	}
	return 0
}

func (s *scanner) array(want *shape, depth int) error {
	for s.at++; ; s.at++ {
		if c := s.peek(); c == ']' || c == 0 {
			s.at++
			return nil
		}
		null, err := s.value(want, depth+1)
		if err != nil {
			return err
		}
		if null && want != nil {
			return fmt.Errorf("%w: an object in a list is null", errIncomplete)
		}
		if s.peek() != ',' {
			s.at++
			return nil
		}
	}
}

func (s *scanner) object(want *shape, depth int) error {
	first := s.open
	present := uint64(0) // bits of the shape's members
	for s.at++; s.peek() == '"'; s.at++ {
		k, plain := s.text()
		m, err := s.member(want, first, k, plain)
		if err != nil {
			return err
		}
		s.peek()
		s.at++ // the colon
		var of *shape
		if m >= 0 {
			of = want.members[m].of
		}
		null, err := s.value(of, depth+1)
		if err != nil {
			return err
		}
		if m >= 0 && (!null || want.members[m].nullable) {
			present |= 1 << m
		}
		if s.peek() != ',' {
			break
		}
	}
	s.at++
	s.open = first
	return want.complete(present)
}

// member notes the name of a member, and returns its place in the shape or -1.
func (s *scanner) member(want *shape, first int, k key, plain bool) (int, error) {
	if !plain {
		k.hash = foldedHash([]byte(folded(s.name(k, false))))
	}
	if s.open-first >= maxMembers {
		return 0, errTooMany
	}
	for i := first; i < s.open; i++ {
		if other := s.key(i); other.hash == k.hash && folded(s.name(other, false)) == folded(s.name(k, plain)) {
			return 0, fmt.Errorf("a JSON object has the member %s twice", quoted(s.name(k, plain), shortText))
		}
	}
	s.push(k)
	if want == nil {
		return -1, nil
	}
	for i := range want.members {
		m := &want.members[i]
		if m.hash != k.hash {
			continue
		}
		if plain && string(s.data[k.start:k.end]) == m.name {
			return i, nil
		}
		switch name := s.name(k, plain); {
		case name == m.name:
			return i, nil
		case folded(name) == folded(m.name):
			return 0, fmt.Errorf("the member %q is spelled %s", m.name, quoted(name, shortText))
		}
	}
	return -1, nil
}

// name returns the name at k. A plain one stands there as it is; any may be decoded.
func (s *scanner) name(k key, plain bool) string {
	if plain {
		return string(s.data[k.start:k.end])
	}
	// The copy keeps the scanner on the stack.
	text := bytes.Clone(s.data[k.start-1 : min(int(k.end)+1, len(s.data))])
	var name string
	if json.Unmarshal(text, &name) != nil {
		return string(s.data[k.start:k.end])
	}
	return name
}

// skipText skips a string.
func (s *scanner) skipText() {
	for s.at++; s.at < len(s.data) && s.data[s.at] != '"'; s.at++ {
		if s.data[s.at] == '\\' {
			s.at++
		}
	}
	s.at++
}

// text reads the name that comes next. Plain: it has no escapes and is ASCII; the hash is that of a plain one.
func (s *scanner) text() (k key, plain bool) {
	s.at++
	k.start, plain = uint32(s.at), true
	hash := uint32(hashOffset)
	for ; s.at < len(s.data) && s.data[s.at] != '"'; s.at++ {
		c := s.data[s.at]
		if c == '\\' || c >= 0x80 {
			plain = false
			if c == '\\' {
				s.at++
			}
		}
		hash = (hash ^ uint32(lower(c))) * hashPrime
	}
	s.at = min(s.at, len(s.data))
	k.end, k.hash = uint32(s.at), hash
	s.at++
	return k, plain
}

// The hash is FNV-1a.
const hashOffset, hashPrime = 2166136261, 16777619

func foldedHash(name []byte) uint32 {
	hash := uint32(hashOffset)
	for _, c := range name {
		hash = (hash ^ uint32(lower(c))) * hashPrime
	}
	return hash
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// folded returns a form of name that is the same for all names that encoding/json takes for the same.
func folded(name string) string {
	return strings.Map(func(r rune) rune {
		for {
			next := unicode.SimpleFold(r)
			if next <= r {
				r = next
				break
			}
			r = next
		}
		if r < 0x80 {
			r = rune(lower(byte(r)))
		}
		return r
	}, name)
}
