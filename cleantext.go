package letagentpay

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The number of characters of another party's text that an error or a log line shows.
const (
	shortText  = 100  // of an id, a name, a state, a media type
	idText     = 255  // of an id or a host
	sampleText = 200  // of a response that is not JSON
	longText   = 500  // of an explanation
	causeText  = 1000 // of another error's text
	loggedText = 8000 // of any text in a log line, such as an error with several causes
)

// cleaned returns another party's text in a form that errors and log lines may show: without tokens, on one line, in
// UTF-8, without invisible control and format characters, and at most longest characters long. Where it cuts, it adds
// an ellipsis. Ordinary text is unchanged.
func cleaned(text string, longest int) string { return cleanedOf("", text, longest) }

// cleaned is the function cleaned, and also knows the client's token.
func (t *transport) cleaned(text string, longest int) string {
	return cleanedOf(t.token.reveal(), text, longest)
}

// quoted is cleaned, in quotation marks.
func quoted(text string, longest int) string { return strconv.Quote(cleaned(text, longest)) }

func cleanedOf(token, text string, longest int) string {
	// The rest is not scanned: it may be a megabyte. A token that is cut short is still recognised.
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

// visible returns text on one line and without invisible characters that change how it is shown: control and format
// characters, such as those for the direction of writing.
func visible(text string) string {
	if printableASCII(text) {
		return text
	}
	var b strings.Builder
	broken, space := false, true // broken: a line has ended; space: the text ends in a space
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
		b.WriteRune(r) // range turns an invalid byte into U+FFFD
		broken, space = false, r == ' '
	}
	return b.String()
}
