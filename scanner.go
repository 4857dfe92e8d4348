package letagentpay

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
)

const (
	maxDepth   = 64
	maxMembers = 1000 // of one object, because each is compared with all others
)

// scanner reads JSON that is known to be valid, once. On other input it also stops, with or without an error.
type scanner struct {
	data []byte
	at   int
	// The members read so far of all open objects: as many as an ordinary response has, and the rest.
	names     [32]nameSpan
	moreNames []nameSpan
	nameCount int
}

// nameSpan is the position of a member's name, without its quotes.
type nameSpan struct {
	hash       uint32 // of the folded name
	start, end uint32
}

// value reads the next value and reports whether it is null.
func (sc *scanner) value(want *shape, depth int) (null bool, err error) {
	if depth > maxDepth {
		return false, errTooDeep
	}
	switch sc.peek() {
	case '{':
		return false, sc.object(want, depth)
	case '[':
		return false, sc.array(want, depth)
	case '"':
		sc.skipText()
		return false, nil
	case 'n':
		sc.at += len("null")
		return true, nil
	default:
		sc.scalar()
		return false, nil
	}
}

// object reads an object and checks its members against the shape.
func (sc *scanner) object(want *shape, depth int) error {
	first := sc.nameCount
	present := uint64(0) // bits of the shape's members
	for sc.at++; sc.peek() == '"'; sc.at++ {
		k, plain := sc.readName()
		m, err := sc.addMember(want, first, k, plain)
		if err != nil {
			return err
		}
		sc.peek()
		sc.at++ // the colon
		var of *shape
		if m >= 0 {
			of = want.members[m].shape
		}
		null, err := sc.value(of, depth+1)
		if err != nil {
			return err
		}
		if m >= 0 && (!null || want.members[m].nullable) {
			present |= 1 << m
		}
		if sc.peek() != ',' {
			break
		}
	}
	sc.at++
	sc.nameCount = first
	return want.complete(present)
}

// addMember records the name of a member. It returns the member's index in the shape, or -1.
func (sc *scanner) addMember(want *shape, first int, k nameSpan, plain bool) (int, error) {
	if !plain {
		k.hash = foldedHash([]byte(folded(sc.name(k, false))))
	}
	if sc.nameCount-first >= maxMembers {
		return 0, errTooMany
	}
	for i := first; i < sc.nameCount; i++ {
		if other := sc.nameAt(i); other.hash == k.hash && folded(sc.name(other, false)) == folded(sc.name(k, plain)) {
			return 0, fmt.Errorf("a JSON object has the member %s twice", quoted(sc.name(k, plain), shortText))
		}
	}
	sc.push(k)
	if want == nil {
		return -1, nil
	}
	for i := range want.members {
		m := &want.members[i]
		if m.hash != k.hash {
			continue
		}
		if plain && string(sc.data[k.start:k.end]) == m.name {
			return i, nil
		}
		switch name := sc.name(k, plain); {
		case name == m.name:
			return i, nil
		case folded(name) == folded(m.name):
			return 0, fmt.Errorf("the member %q is spelled %s", m.name, quoted(name, shortText))
		}
	}
	return -1, nil
}

// array reads an array. With a shape, its elements must be objects of that shape.
func (sc *scanner) array(want *shape, depth int) error {
	for sc.at++; ; sc.at++ {
		if c := sc.peek(); c == ']' || c == 0 {
			sc.at++
			return nil
		}
		null, err := sc.value(want, depth+1)
		if err != nil {
			return err
		}
		if null && want != nil {
			return fmt.Errorf("%w: an object in a list is null", errIncomplete)
		}
		if sc.peek() != ',' {
			sc.at++
			return nil
		}
	}
}

// scalar skips a number, true or false.
func (sc *scanner) scalar() {
	for sc.at++; sc.at < len(sc.data); sc.at++ {
		switch sc.data[sc.at] {
		case ',', ']', '}', ' ', '\t', '\r', '\n':
			return
		}
	}
}

// peek skips white space and returns the next byte, or 0 at the end.
func (sc *scanner) peek() byte {
	for ; sc.at < len(sc.data); sc.at++ {
		if c := sc.data[sc.at]; c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			return c
		}
	}
	return 0
}

// skipText skips a string.
func (sc *scanner) skipText() {
	for sc.at++; sc.at < len(sc.data) && sc.data[sc.at] != '"'; sc.at++ {
		if sc.data[sc.at] == '\\' {
			sc.at++
		}
	}
	sc.at++
}

// readName reads the next name. A plain name is ASCII without escapes; the hash is valid for plain names only.
func (sc *scanner) readName() (k nameSpan, plain bool) {
	sc.at++
	k.start, plain = uint32(sc.at), true
	hash := uint32(hashOffset)
	for ; sc.at < len(sc.data) && sc.data[sc.at] != '"'; sc.at++ {
		c := sc.data[sc.at]
		if c == '\\' || c >= 0x80 {
			plain = false
			if c == '\\' {
				sc.at++
			}
		}
		hash = (hash ^ uint32(asciiLower(c))) * hashPrime
	}
	sc.at = min(sc.at, len(sc.data))
	k.end, k.hash = uint32(sc.at), hash
	sc.at++
	return k, plain
}

// name returns the name at k: a plain one as it is, any other decoded. plain may always be false.
func (sc *scanner) name(k nameSpan, plain bool) string {
	if plain {
		return string(sc.data[k.start:k.end])
	}
	// The copy keeps the scanner on the stack.
	text := bytes.Clone(sc.data[k.start-1 : min(int(k.end)+1, len(sc.data))])
	var name string
	if json.Unmarshal(text, &name) != nil {
		return string(sc.data[k.start:k.end])
	}
	return name
}

// nameAt returns the ith name of the open objects.
func (sc *scanner) nameAt(i int) nameSpan {
	if i < len(sc.names) {
		return sc.names[i]
	}
	return sc.moreNames[i-len(sc.names)]
}

// push adds a name to those of the open objects.
func (sc *scanner) push(k nameSpan) {
	if sc.nameCount < len(sc.names) {
		sc.names[sc.nameCount] = k
	} else {
		sc.moreNames = append(sc.moreNames[:sc.nameCount-len(sc.names)], k)
	}
	sc.nameCount++
}

// The parameters of the hash, FNV-1a.
const hashOffset, hashPrime = 2166136261, 16777619

// foldedHash returns a hash that is equal for names that differ only in the case of ASCII letters.
func foldedHash(name []byte) uint32 {
	hash := uint32(hashOffset)
	for _, c := range name {
		hash = (hash ^ uint32(asciiLower(c))) * hashPrime
	}
	return hash
}

func asciiLower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// folded returns the same text for all names that encoding/json treats as equal.
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
			r = rune(asciiLower(byte(r)))
		}
		return r
	}, name)
}
