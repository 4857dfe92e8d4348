package letagentpay

import (
	"html"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// redacted stands for a token.
const redacted = "[token]"

// secret holds a string where neither fmt, nor a JSON encoder, nor a logger can reach it, not even through a struct's
// unexported field: all they find is a function.
type secret struct {
	reveal func() string
}

func newSecret(s string) secret { return secret{func() string { return s }} }

// redact replaces every token in text, the one given and any other, however it is spelled and wherever it is cut: from
// the prefix, in any case and escaped or not, to the next white space or closing quotation mark.
func redact(token, text string) string {
	if !mayHoldToken(text) {
		return text
	}
	var b strings.Builder
	from := 0
	for at := 0; at < len(text); {
		prefix := tokenAt(text[at:])
		if prefix == 0 {
			at++
			continue
		}
		b.WriteString(text[from:at] + redacted)
		at += prefix
		at += restOfToken(text[at:], strings.TrimPrefix(token, tokenPrefix))
		from = at
	}
	if from == 0 {
		return text
	}
	return b.String() + text[from:]
}

// holdsToken reports whether redact finds a token in text.
func holdsToken(text string) bool {
	if !mayHoldToken(text) {
		return false
	}
	for at := range len(text) {
		if tokenAt(text[at:]) > 0 {
			return true
		}
	}
	return false
}

// mayHoldToken is a quick look: the underscore of the prefix is one of these, or begins with one where it is escaped.
func mayHoldToken(text string) bool { return strings.ContainsAny(text, `_\%&`) }

// tokenAt returns the length of the token's prefix as text spells it, or 0 when text begins with something else.
func tokenAt(text string) int {
	if asciiLower(text[0]) != tokenPrefix[0] && strings.IndexByte(`\%&`, text[0]) < 0 {
		return 0
	}
	n := 0
	for i := range len(tokenPrefix) {
		if n == len(text) {
			return 0
		}
		r, size := decodeCharacter(text[n:])
		if !sameLetter(r, tokenPrefix[i]) {
			return 0
		}
		n += size
	}
	return n
}

// restOfToken returns how much of text belongs to the token whose prefix has been read. rest is what the known token
// continues with: as far as text agrees with it, quotation marks and white space do not end it.
func restOfToken(text, rest string) int {
	n := 0
	for n < len(text) {
		r, size := decodeCharacter(text[n:])
		switch {
		case rest != "" && sameLetter(r, rest[0]):
			rest = rest[1:]
		case unicode.IsSpace(r):
			gap := len(text[n:]) - len(strings.TrimLeftFunc(text[n+size:], unicode.IsSpace))
			if next, _ := decodeCharacter(text[n+gap:]); rest == "" || !sameLetter(next, rest[0]) {
				return n
			}
			size = gap
		case r == '"' && !startsWithTokenCharacter(text[n+size:]):
			return n
		}
		n += size
	}
	return n
}

// continues reports whether text goes on with a character that tokens are made of.
func startsWithTokenCharacter(text string) bool {
	r, _ := decodeCharacter(text)
	return r < utf8.RuneSelf && (unicode.IsLetter(r) || unicode.IsDigit(r) || r == '-' || r == '_')
}

func sameLetter(r rune, c byte) bool {
	return r < utf8.RuneSelf && asciiLower(byte(r)) == asciiLower(c)
}

// character reads the first character of text, which may be escaped as in JSON, in a URL or in HTML, once or more
// often; the size is that of its escaped form. The line ends and tabs of JSON count as a space. For an empty text both
// are 0.
func decodeCharacter(text string) (r rune, size int) {
	if text == "" {
		return 0, 0
	}
	switch text[0] {
	case '\\':
		return decodeBackslash(text)
	case '%':
		return decodePercent(text)
	case '&':
		if end := strings.IndexByte(text[:min(len(text), 12)], ';'); end > 0 {
			if plain := html.UnescapeString(text[:end+1]); plain != text[:end+1] {
				r, _ = utf8.DecodeRuneInString(plain)
				return r, end + 1
			}
		}
	}
	return utf8.DecodeRuneInString(text)
}

// maxEscapes is how often an escape may be escaped in its turn.
const maxEscapes = 8

func decodeBackslash(text string) (rune, int) {
	n := 1
	for n < maxEscapes && strings.HasPrefix(text[n:], `\`) {
		n++
	}
	if n == len(text) {
		return '\\', n
	}
	digits := 0
	switch text[n] {
	case 'x':
		digits = 2
	case 'u':
		digits = 4
	}
	if digits > 0 && n+1+digits <= len(text) {
		if code, err := strconv.ParseUint(text[n+1:n+1+digits], 16, 32); err == nil {
			return rune(code), n + 1 + digits
		}
	}
	if strings.IndexByte("nrt", text[n]) >= 0 {
		return ' ', n + 1
	}
	r, size := utf8.DecodeRuneInString(text[n:])
	return r, n + size
}

func decodePercent(text string) (rune, int) {
	n := 1
	for n < 2*maxEscapes && n+4 <= len(text) && text[n:n+2] == "25" {
		n += len("25")
	}
	if n+2 <= len(text) {
		if code, err := strconv.ParseUint(text[n:n+2], 16, 8); err == nil {
			return rune(code), n + 2
		}
	}
	return '%', 1
}
