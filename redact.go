package letagentpay

import (
	"html"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// redacted replaces a token.
const redacted = "[token]"

// secret holds a string that fmt, JSON encoders and loggers cannot print, even through an unexported field: they find
// only a function.
type secret struct {
	reveal func() string
}

func newSecret(s string) secret { return secret{func() string { return s }} }

// redact replaces every token in text, the given one and any other, in every spelling and even if it is cut off. A
// token extends from its prefix, in upper or lower case, escaped or not, to the next white space or closing quotation
// mark.
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

// holdsToken reports whether redact would find a token in text.
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

// mayHoldToken is a quick test. The prefix has an underscore, which is one of these characters or starts with one when
// it is escaped.
func mayHoldToken(text string) bool { return strings.ContainsAny(text, `_\%&`) }

// tokenAt returns the length of the token prefix with which text starts, as text spells it. It returns 0 if text starts
// with something else.
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

// restOfToken returns the length of the part of text that belongs to a token whose prefix precedes text. rest is the
// remainder of the known token: while text agrees with it, quotation marks and white space do not end the token.
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

// startsWithTokenCharacter reports whether text starts with a character that occurs in tokens.
func startsWithTokenCharacter(text string) bool {
	r, _ := decodeCharacter(text)
	return r < utf8.RuneSelf && (unicode.IsLetter(r) || unicode.IsDigit(r) || r == '-' || r == '_')
}

func sameLetter(r rune, c byte) bool {
	return r < utf8.RuneSelf && asciiLower(byte(r)) == asciiLower(c)
}

// decodeCharacter returns the first character of text, which may be escaped one or more times as in JSON, a URL or
// HTML, and the size of its escaped form. JSON's line ends and tabs count as a space. For an empty text both results
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

// maxEscapes is how many times a character may be escaped.
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
