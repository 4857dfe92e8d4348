package letagentpay

import (
	"errors"
	"strings"
	"unicode"
)

// requestIDOf checks a request's id and returns its canonical spelling.
func requestIDOf(id string) (string, error) {
	if err := checkRequestID(id); err != nil {
		return "", err
	}
	return canonicalID(id), nil
}

// checkRequestID returns a *ParamError if id cannot be the id of a request.
func checkRequestID(id string) error {
	const longest = 255
	reason := ""
	switch {
	case isCanonical(id):
		return nil
	case id == "":
		reason = "want the id of a request"
	case len(id) > longest:
		reason = "want at most 255 characters"
	case id == "." || strings.Contains(id, "..") || strings.ContainsFunc(id, func(r rune) bool {
		return strings.ContainsRune(`/\?#%`, r) || unicode.IsSpace(r) || !unicode.IsPrint(r)
	}):
		reason = "want an id as the service gave it, without slashes, dots in a row and special characters"
	default:
		return nil
	}
	return paramError("requestID", id, reason)
}

// checkAnsweredID checks the id in a response, which must be usable in later requests.
func checkAnsweredID(id string) error {
	if checkRequestID(id) != nil {
		return errors.New("the request id " + quoted(id, shortText) + " is not a valid id")
	}
	return nil
}

// canonicalID returns the one spelling of a request's id that locks, memory, journals and comparisons use. In a path,
// the service accepts a UUID in upper or lower case, without hyphens, in braces, or as a URN. An id that is not a UUID
// is lower-cased.
func canonicalID(id string) string {
	if isCanonical(id) {
		return id
	}
	lower := strings.ToLower(id)
	bare := strings.TrimPrefix(lower, "urn:uuid:")
	if strings.HasPrefix(bare, "{") && strings.HasSuffix(bare, "}") {
		bare = bare[1 : len(bare)-1]
	}
	digits := strings.ReplaceAll(bare, "-", "")
	if len(digits) != 32 || strings.Trim(digits, "0123456789abcdef") != "" {
		return lower
	}
	return digits[:8] + "-" + digits[8:12] + "-" + digits[12:16] + "-" + digits[16:20] + "-" + digits[20:]
}

// isCanonical reports whether id is a UUID in the service's own spelling.
func isCanonical(id string) bool {
	if len(id) != 36 {
		return false
	}
	for i := range len(id) {
		switch c := id[i]; {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return false
			}
		case (c < '0' || c > '9') && (c < 'a' || c > 'f'):
			return false
		}
	}
	return true
}
