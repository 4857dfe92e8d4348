package letagentpay

import (
	"net"
	"net/url"
	"strconv"
	"strings"
)

const tokenPrefix = "agt_"

// checkToken returns what is wrong with a token, without telling the token.
func checkToken(token string) string {
	switch {
	case !strings.HasPrefix(token, tokenPrefix) || len(token) == len(tokenPrefix):
		return `want a token that begins with "agt_" and goes on`
	case len(token) > 1024:
		return "want a token of at most 1024 characters"
	case !printableASCII(token) || strings.Contains(token, " "):
		return "want a token without spaces, line ends and special characters; was it read from a file together with its final newline?"
	}
	return ""
}

func parseBaseURL(field, text string, insecure bool) (*url.URL, error) {
	base, err := url.Parse(text)
	if err != nil {
		// The text is left out here and where it holds a user or a query: either may carry a secret.
		return nil, paramError(field, "", "want a URL such as "+DefaultBaseURL)
	}
	switch {
	case base.User != nil || base.RawQuery != "" || base.ForceQuery || base.Fragment != "":
		return nil, paramError(field, "", "want a URL without user, query and fragment")
	case base.Scheme != "https" && base.Scheme != "http":
		return nil, paramError(field, text, "want a URL that begins with https://")
	case strings.Trim(base.Hostname(), ".") == "" || base.Opaque != "":
		return nil, paramError(field, text, "want a URL with a host, such as "+DefaultBaseURL)
	case !isPort(base.Port()):
		return nil, paramError(field, text, "want a port from 1 to 65535, or none")
	case base.Scheme == "http" && !insecure && !isLoopback(base.Hostname()):
		return nil, paramError(field, text, "want https: plain http would show the token to the network; it is accepted for loopback hosts, and with WithInsecureHTTP")
	}
	base.Path, base.RawPath = strings.TrimRight(base.Path, "/"), strings.TrimRight(base.RawPath, "/")
	return base, nil
}

func isPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return port == "" || err == nil && n > 0
}

// identityOf brings a base URL into one form, however it is spelled: in it lies what makes two clients' keys the same.
func identityOf(base *url.URL) string {
	host, port := strings.ToLower(strings.TrimSuffix(base.Hostname(), ".")), base.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[base.Scheme]
	}
	return base.Scheme + "://" + net.JoinHostPort(host, port) + base.EscapedPath()
}

func isLoopback(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
