package server

import (
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"

	"qtool/internal/printable"
	"qtool/internal/usage"
)

// defaultPort is Ollama's own, where an address has neither port nor scheme.
const defaultPort = "11434"

// Environment is the value of OLLAMA_HOST, which Ollama's own programs read too.
func Environment() string { return os.Getenv("OLLAMA_HOST") }

// Address reads an address as Ollama reads OLLAMA_HOST: [SCHEME://]HOST[:PORT][/PATH], with
// 127.0.0.1:11434 for what is missing, and port 80 or 443 after a scheme. An address that
// a server listens on everywhere, such as 0.0.0.0, becomes the one of this machine.
func Address(s string) (*url.URL, error) {
	text := strings.Trim(strings.TrimSpace(s), `"'`)
	scheme, rest, given := strings.Cut(text, "://")
	port := defaultPort
	switch {
	case !given && text == "ollama.com":
		scheme, rest, port = "https", text, "443"
	case !given:
		scheme, rest = "http", text
	case scheme == "http":
		port = "80"
	case scheme == "https":
		port = "443"
	default:
		return nil, usage.Errorf("the address %s of Ollama has the scheme %s; expected http or https", printable.Quote(s), printable.Quote(scheme))
	}
	rest, path, _ := strings.Cut(rest, "/")
	host := strings.Trim(rest, "[]")
	if h, p, err := net.SplitHostPort(rest); err == nil {
		host = h
		if n, err := strconv.Atoi(p); p != "" && (err != nil || n < 0 || n > 65535) {
			return nil, usage.Errorf("the address %s of Ollama has the port %s; expected 0 to 65535", printable.Quote(s), printable.Quote(p))
		}
		if p != "" {
			port = p
		}
	}
	if host == "" {
		host = "127.0.0.1"
	}
	if strings.ContainsAny(host, " \t\r\n@?#%\\\"<>") {
		return nil, usage.Errorf("the address %s of Ollama has no valid host", printable.Quote(s))
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
		if ip.To4() == nil {
			host = "::1"
		}
	}
	u := &url.URL{Scheme: scheme, Host: net.JoinHostPort(host, port)}
	if path = strings.Trim(path, "/"); path != "" {
		u.Path = "/" + path
	}
	return u, nil
}
