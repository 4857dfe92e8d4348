package letagentpay

import "strings"

// canonicalID returns the one spelling of a request's id under which locks, memory, journals and comparisons know it.
// The service takes a UUID in a path in any spelling that its parser knows: in either case, without hyphens, in braces,
// as a URN. An id that is no UUID is lower-cased.
func canonicalID(id string) string {
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
