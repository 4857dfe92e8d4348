package letagentpay

import (
	"net"
	"net/url"
	"strconv"
	"strings"
)

const tokenPrefix = "agt_"

// checkToken returns what is wrong with a token, without the token, or "".
func checkToken(token string) string {
	switch {
	case !strings.HasPrefix(token, tokenPrefix) || len(token) == len(tokenPrefix):
		return `want a token that starts with "agt_" followed by the secret`
	case len(token) > 1024:
		return "want a token of at most 1024 characters"
	case !printableASCII(token) || strings.Contains(token, " "):
		return "want a token without spaces, line ends and special characters; " +
			"was it read from a file together with its final newline?"
	}
	return ""
}

// parseBaseURL parses and checks a base URL. field names the option for errors.
func parseBaseURL(field, text string, insecure bool) (*url.URL, error) {
	base, err := url.Parse(text)
	if err != nil {
		// Errors omit a text that cannot be parsed or has a user or a query: it may hold a secret.
		return nil, paramError(field, "", "want a URL such as "+DefaultBaseURL)
	}
	switch {
	case base.User != nil || base.RawQuery != "" || base.ForceQuery || base.Fragment != "":
		return nil, paramError(field, "", "want a URL without user, query and fragment")
	case base.Scheme != "https" && base.Scheme != "http":
		return nil, paramError(field, text, "want a URL that starts with https://")
	case strings.Trim(base.Hostname(), ".") == "" || base.Opaque != "":
		return nil, paramError(field, text, "want a URL with a host, such as "+DefaultBaseURL)
	case !isPort(base.Port()):
		return nil, paramError(field, text, "want a port from 1 to 65535, or none")
	case base.Scheme == "http" && !insecure && !isLoopback(base.Hostname()):
		return nil, paramError(field, text, "want https: plain http would show the token to the network; "+
			"it is accepted for loopback hosts, and with WithInsecureHTTP")
	}
	base.Path, base.RawPath = strings.TrimRight(base.Path, "/"), strings.TrimRight(base.RawPath, "/")
	return base, nil
}

// isPort reports whether port is empty or a number from 1 to 65535.
func isPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return port == "" || err == nil && n > 0
}

// identityOf returns one spelling of a base URL. Clients with equal identities share idempotency keys.
func identityOf(base *url.URL) string {
	host, port := strings.ToLower(strings.TrimSuffix(base.Hostname(), ".")), base.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[base.Scheme]
	}
	return base.Scheme + "://" + net.JoinHostPort(host, port) + base.EscapedPath()
}

// isLoopback reports whether host is localhost or a loopback address.
func isLoopback(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
