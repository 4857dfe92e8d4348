package letagentpay

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// How many characters of a foreign text an error or a log line shows.
const (
	shortText  = 100  // of an id, a name, a state, a media type
	idText     = 255  // of an id or a host
	sampleText = 200  // of an answer that is no JSON
	longText   = 500  // of an explanation
	causeText  = 1000 // of the text of another error
	loggedText = 8000 // of a text in a log line, which may be that of an error with several causes
)

// cleaned returns a foreign text as an error or a log line may show it: at most longest characters and a sign that some
// are left out, on one line, in UTF-8, without characters that are not seen but change what is, and without tokens.
// Ordinary text stays as it is.
func cleaned(text string, longest int) string { return cleanedOf("", text, longest) }

// cleaned is the function cleaned, which knows the client's token as well.
func (t *transport) cleaned(text string, longest int) string {
	return cleanedOf(t.token.reveal(), text, longest)
}

// quoted is cleaned, in quotation marks.
func quoted(text string, longest int) string { return strconv.Quote(cleaned(text, longest)) }

func cleanedOf(token, text string, longest int) string {
	// What is cut off is not looked at: a megabyte may follow. A token that is cut short is recognised all the same.
	const mostBytes = utf8.UTFMax
	cut := len(text) > longest*mostBytes
	if cut {
		end := longest * mostBytes
		for end > 0 && !utf8.RuneStart(text[end]) {
			end--
		}
		text = text[:end]
	}
	text = redact(token, visible(text))
	if utf8.RuneCountInString(text) <= longest && !cut {
		return text
	}
	if runes := []rune(text); len(runes) > longest {
		text = string(runes[:longest])
	}
	return text + "…"
}

// visible makes one line of text, and leaves out characters that are not seen but act: control and format characters,
// among them those that change the direction of writing.
func visible(text string) string {
	if printableASCII(text) {
		return text
	}
	var b strings.Builder
	broken, space := false, true // a line has ended, and needs no space of its own
	for _, r := range text {
		switch {
		case unicode.In(r, unicode.Zl, unicode.Zp) || unicode.Is(unicode.Cc, r) && unicode.IsSpace(r):
			broken = true
			continue
		case unicode.In(r, unicode.Cc, unicode.Cf):
			continue
		case broken && !space && r != ' ':
			b.WriteByte(' ')
		}
		b.WriteRune(r) // an invalid byte has become U+FFFD
		broken, space = false, r == ' '
	}
	return b.String()
}
