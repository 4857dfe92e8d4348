package letagentpay

import (
	"errors"
	"fmt"
	"html"
	"net"
	"reflect"
	"slices"
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

// redacted stands for a token.
const redacted = "[token]"

// secret holds a string where neither fmt, nor a JSON encoder, nor a logger can reach it, not even through a struct's
// unexported field: all they find is a function.
type secret struct {
	reveal func() string
}

func newSecret(s string) secret { return secret{func() string { return s }} }

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

// errorText returns the text of err, whose Error method may panic: it may be a nil pointer in an interface.
func errorText(err error) (text string) {
	defer func() {
		if recover() != nil {
			text = fmt.Sprintf("an error without a text (%T)", err)
		}
	}()
	return err.Error()
}

// becauseOf returns err as the end of a text, or nothing when it is nil.
func becauseOf(err error) string {
	if err == nil {
		return ""
	}
	return ": " + errorText(err)
}

// sound returns err, or where it or what it wraps cannot be asked without a panic, an error with its text alone.
func panicSafe(err error) (whole error) {
	defer func() {
		if recover() != nil {
			whole = errors.New(errorText(err))
		}
	}()
	callMethods(err)
	return err
}

// ask calls the methods of err and of all that it wraps.
func callMethods(err error) {
	_ = err.Error()
	for _, cause := range causes(err) {
		callMethods(cause)
	}
}

// redactError returns err, the error of somebody else, with a text that may be shown, and without what would tell a token.
func (t *transport) redactError(err error) error {
	err = panicSafe(err)
	return withText(err, t.cleaned(err.Error(), causeText))
}

// withoutToken is foreign for an error whose text is all right unless it tells a token.
func withoutToken(err error) error {
	return withText(err, redact("", err.Error()))
}

// shownAs returns err as it is if it may be shown so, and with another text otherwise.
func withText(err error, shown string) error {
	if shown == err.Error() && !errorHoldsToken(err) {
		return err
	}
	hidden := redactedError{text: shown, cause: func() error { return err }}
	if network, ok := errors.AsType[net.Error](err); ok {
		return &redactedNetError{hidden, network.Timeout()}
	}
	return &hidden
}

// redactedError takes the place of an error whose text may not be shown. What it wraps is found by errors.Is, and by
// errors.As as far as it tells no token. Like a secret, the cause is out of reach for whoever prints it.
type redactedError struct {
	text  string
	cause func() error
}

func (e *redactedError) Error() string        { return e.text }
func (e *redactedError) Is(target error) bool { return errors.Is(e.cause(), target) }

// As implements what [errors.As] asks for.
func (e *redactedError) As(target any) bool {
	return asWithoutToken(e.cause(), reflect.ValueOf(target).Elem())
}

// redactedNetError is a redactedError of a [net.Error].
type redactedNetError struct {
	redactedError
	timeout bool
}

// Timeout and Temporary make it a [net.Error].
func (e *redactedNetError) Timeout() bool   { return e.timeout }
func (e *redactedNetError) Temporary() bool { return e.timeout }

// handOut is errors.As for the errors that tell no token.
func asWithoutToken(err error, target reflect.Value) bool {
	if !errorHoldsToken(err) {
		return errors.As(err, target.Addr().Interface()) && !clearIfHoldsToken(target)
	}
	for _, cause := range causes(err) {
		if asWithoutToken(cause, target) {
			return true
		}
	}
	return false
}

// tells reports whether the text of err, or of an error that it wraps, holds a token.
func errorHoldsToken(err error) bool {
	if holdsToken(err.Error()) {
		return true
	}
	for _, cause := range causes(err) {
		if errorHoldsToken(cause) {
			return true
		}
	}
	return false
}

// tellsValue reports whether target, as an As method has set it, is an error that tells a token. It is emptied then.
func clearIfHoldsToken(target reflect.Value) bool {
	err, ok := target.Interface().(error)
	if !ok || !errorHoldsToken(err) {
		return false
	}
	target.SetZero()
	return true
}

// causes returns what err wraps.
func causes(err error) []error {
	switch wrapper := err.(type) {
	case interface{ Unwrap() error }:
		if cause := wrapper.Unwrap(); cause != nil {
			return []error{cause}
		}
	case interface{ Unwrap() []error }:
		return slices.DeleteFunc(slices.Clone(wrapper.Unwrap()), func(cause error) bool { return cause == nil })
	}
	return nil
}
