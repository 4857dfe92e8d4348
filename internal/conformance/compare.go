package conformance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"regexp"
	"slices"
)

var (
	reference = regexp.MustCompile(`\$req\d+`)
	timestamp = regexp.MustCompile(`^\d{4}-\d\d-\d\d[T ]\d\d:\d\d`)
	number    = regexp.MustCompile(`^[-+]?\d*\.?\d+([eE][-+]?\d+)?$`)
)

// compare returns how a value differs from the recorded one, or "". An object may have more fields than the recorded
// one. Numbers and decimals in strings compare by value. A name such as $req0 stands for an id, and $text, $time and
// other names for any text of their kind.
func (p *player) compare(path string, want, got any) string {
	differs := fmt.Sprintf("%s: want %.200v (%T), got %.200v (%T)", path, want, want, got, got)
	switch want := want.(type) {
	case map[string]any:
		object, ok := got.(map[string]any)
		if !ok {
			return differs
		}
		for _, key := range slices.Sorted(maps.Keys(want)) {
			value, ok := object[key]
			if !ok {
				return path + "." + key + ": missing"
			}
			if difference := p.compare(path+"."+key, want[key], value); difference != "" {
				return difference
			}
		}
		return ""
	case []any:
		items, ok := got.([]any)
		if !ok || len(items) != len(want) {
			return differs
		}
		for i := range want {
			if difference := p.compare(fmt.Sprintf("%s[%d]", path, i), want[i], items[i]); difference != "" {
				return difference
			}
		}
		return ""
	case json.Number:
		if got, ok := got.(json.Number); ok && sameNumber(want.String(), got.String()) {
			return ""
		}
	case string:
		text, ok := got.(string)
		switch {
		case want == "$any":
			return ""
		case !ok:
			return differs
		case want == "$text", want == "$agent", want == "$account":
			ok = text != ""
		case want == "$time":
			ok = timestamp.MatchString(text)
		case reference.FindString(want) == want && want != "":
			ok = p.bind(want, text)
		default:
			ok = text == p.resolve(want) ||
				number.MatchString(want) && number.MatchString(text) && sameNumber(want, text)
		}
		if ok {
			return ""
		}
	default:
		if want == got {
			return ""
		}
	}
	return differs
}

// bind makes a name stand for an id. It returns false if one of them already belongs to another.
func (p *player) bind(name, id string) bool {
	if known, ok := p.ids[name]; ok {
		return known == id
	}
	if _, taken := p.names[id]; taken || id == "" {
		return false
	}
	p.ids[name], p.names[id] = id, name
	return true
}

// resolve replaces the names of known ids.
func (p *player) resolve(text string) string {
	return reference.ReplaceAllStringFunc(text, func(name string) string {
		if id, ok := p.ids[name]; ok {
			return id
		}
		return name
	})
}

func decode(data []byte) any {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var value any
	if decoder.Decode(&value) != nil {
		return string(data)
	}
	return value
}

func sameNumber(a, b string) bool {
	x, okX := new(big.Rat).SetString(a)
	y, okY := new(big.Rat).SetString(b)
	return okX && okY && x.Cmp(y) == 0
}
