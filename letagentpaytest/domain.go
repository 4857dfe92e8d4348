package letagentpaytest

import (
	"slices"
	"strings"
)

// matchesDomain reports whether domain is one of patterns, where "*.example.com" also matches example.com.
func matchesDomain(domain string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		if parent, ok := strings.CutPrefix(pattern, "*."); ok {
			return domain == parent || strings.HasSuffix(domain, "."+parent)
		}
		return domain == pattern
	})
}

// hostname returns the lower-case host of a URL, or "" for a URL without one, for which domains are not checked. It
// accepts what the service accepts, which is more than url.Parse does.
func hostname(resource string) string {
	resource = strings.TrimLeftFunc(resource, func(r rune) bool { return r <= ' ' })
	resource = strings.NewReplacer("\t", "", "\r", "", "\n", "").Replace(resource)
	if scheme, rest, ok := strings.Cut(resource, ":"); ok && isScheme(scheme) {
		resource = rest
	}
	authority, ok := strings.CutPrefix(resource, "//")
	if !ok {
		return ""
	}
	if end := strings.IndexAny(authority, "/?#"); end >= 0 {
		authority = authority[:end]
	}
	if strings.Contains(authority, "[") != strings.Contains(authority, "]") {
		return ""
	}
	host := authority[strings.LastIndex(authority, "@")+1:]
	if _, bracketed, ok := strings.Cut(host, "["); ok {
		host, _, _ = strings.Cut(bracketed, "]")
	} else {
		host, _, _ = strings.Cut(host, ":")
	}
	return strings.ToLower(host)
}

func isScheme(s string) bool {
	for i, c := range []byte(s) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || !(c >= '0' && c <= '9' || c == '+' || c == '-' || c == '.')) {
			return false
		}
	}
	return s != ""
}
