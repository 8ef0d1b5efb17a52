package via

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"time"

	"kproxy/internal/hostport"
)

// The keys of a [ConfigError], as the configuration file has them.
const (
	KeyVia            = "via"
	KeyPasswordFile   = "via_password_file"
	KeyKeyFile        = "via_key_file"
	KeyPassphraseFile = "via_passphrase_file"
	KeyKnownHosts     = "via_known_hosts"
)

// Config configures a [Dialer]. URL is required, and KnownHosts for
// ssh.
type Config struct {
	// URL is socks5://, http://, https:// or ssh:// with [user@]host:port, or
	// exec: and a command. Ports may be left out where there is a usual one: 1080,
	// 443 (https) and 22. It holds no password.
	URL string

	// PasswordFile holds the password of the URL's user, for socks5, http, https
	// and ssh. A newline at its end is no part of it.
	PasswordFile string

	// KeyFile is a private key for ssh, in OpenSSH's format or PEM; PassphraseFile
	// has its passphrase, if it has one. Only this key is offered, because sshd
	// counts each key that is offered as an attempt. Without KeyFile, and without
	// PasswordFile, the agent's keys are offered.
	KeyFile, PassphraseFile string

	// AgentSocket is the SSH agent's; empty: $SSH_AUTH_SOCK, when New is called.
	AgentSocket string

	// KnownHosts is the file with ssh's host keys, in the format of OpenSSH's
	// known_hosts, @cert-authority and @revoked lines included.
	KnownHosts string

	// Timeout bounds each dial besides its context, 0: 30 s. It also bounds the
	// making of the shared SSH connection.
	Timeout time.Duration

	// KeepAlive is how often a keep-alive request is sent over the SSH connection. If
	// nothing comes for the same time again, the connection counts as dead: at most twice
	// this after it has died. 0: 15 s.
	KeepAlive time.Duration

	// OnStderr is called with each line that a command writes to its standard error, from
	// one goroutine for each connection, cut at 1,024 bytes. nil: none.
	OnStderr func(target, line string)

	// TLS is for https; its ServerName is set where it is empty. nil: the system's
	// authorities, TLS 1.2 at least.
	TLS *tls.Config

	// DialProxy connects to the proxy itself; nil: a net.Dialer that sends
	// keep-alive probes as often as KeepAlive.
	DialProxy func(ctx context.Context, network, address string) (net.Conn, error)

	// SSH makes the Hop of ssh. That of package viassh imports x/crypto/ssh; nil: the
	// program does not link it.
	SSH NewHop
}

// NewHop checks c, the files that it names included, and makes the Hop that leads through p.
// Fields of c that have a default are set. Nothing is connected or started. The error is a
// [*ConfigError], or joins several.
type NewHop func(c Config, p Place) (Hop, error)

// ConfigError is a mistake in a [Config].
type ConfigError struct {
	Key     string // via, via_password_file, …
	Problem string // quotes no secret
	Fix     string
}

// Error is the key, the problem and its fix in one line.
func (e *ConfigError) Error() string { return e.Key + ": " + e.Problem + "; " + e.Fix }

// The defaults of Config.
const (
	defaultTimeout   = 30 * time.Second
	defaultKeepAlive = 15 * time.Second
	keepAliveProbes  = 4
)

const forms = "write socks5://host:1080, http://host:3128, https://host:443, ssh://user@host or exec:CMD {host} {port}"

// New checks c, including the files that it names, and makes its Dialer. It connects to
// nothing and starts nothing. The error is a [*ConfigError], or joins several.
func New(c Config) (*Dialer, error) {
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if c.KeepAlive == 0 {
		c.KeepAlive = defaultKeepAlive
	}
	if c.DialProxy == nil {
		c.DialProxy = (&net.Dialer{KeepAliveConfig: net.KeepAliveConfig{
			Enable: true, Idle: c.KeepAlive, Interval: c.KeepAlive, Count: keepAliveProbes,
		}}).DialContext
	}
	scheme, rest, ok := strings.Cut(c.URL, ":")
	switch {
	case !ok:
		return nil, &ConfigError{KeyVia, "it has no scheme", forms}
	case scheme == schemeExec:
		return newExec(c, rest)
	case !slices.Contains([]string{schemeSOCKS, schemeHTTP, schemeHTTPS, schemeSSH}, scheme):
		fix := "there are socks5, http, https, ssh and exec: " + forms
		if scheme == "socks5h" {
			fix = "write socks5://, which always resolves names at the far side"
		}
		return nil, &ConfigError{KeyVia, fmt.Sprintf("there is no scheme %q", cut(scheme)), fix}
	}
	p, err := parseURL(c.URL, scheme)
	if err != nil {
		return nil, err
	}
	d := &Dialer{name: p.name(), timeout: c.Timeout}
	switch {
	case scheme != schemeSSH:
		d.hop, err = newPlain(c, p)
	case c.SSH != nil:
		d.hop, err = c.SSH(c, p)
	default:
		err = &ConfigError{KeyVia, "this program does not link ssh", "set Parts.SSH of its config.Config to ssh.Hop of package proxy/ssh"}
	}
	if err != nil {
		return nil, err
	}
	return d, nil
}

// The schemes.
const (
	schemeSOCKS = "socks5"
	schemeHTTP  = "http"
	schemeHTTPS = "https"
	schemeSSH   = "ssh"
	schemeExec  = "exec"
)

// cut shortens a quoted URL to a scheme's length: the rest may be secret.
func cut(scheme string) string { return scheme[:min(len(scheme), 16)] }

// Place is a checked URL.
type Place struct {
	Scheme, User string
	Host         string // without brackets
	Port         int32
	Address      string // host:port
}

func (p Place) name() string {
	if p.User == "" {
		return p.Scheme + "://" + p.Address
	}
	return p.Scheme + "://" + url.User(p.User).String() + "@" + p.Address
}

// usualPort is the port of a URL without one; http proxies have no usual port.
var usualPort = map[string]string{schemeSOCKS: "1080", schemeHTTPS: "443", schemeSSH: "22"}

// parseURL reads a URL that leads to a host. net/url's errors quote the URL with its
// password; they are dropped.
func parseURL(text, scheme string) (Place, error) {
	shape := scheme + "://user@host:" + usualPort[scheme]
	if scheme == schemeHTTP {
		shape += "3128"
	}
	u, err := url.Parse(text)
	if err != nil || u.Opaque != "" {
		return Place{}, &ConfigError{KeyVia, "it is not a URL", "write " + shape}
	}
	if _, has := u.User.Password(); has {
		return Place{}, &ConfigError{KeyVia, "it holds a password", "write " + shape + ", and the password into a file that " + KeyPasswordFile + " names"}
	}
	if strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return Place{}, &ConfigError{KeyVia, "something stands behind its host and port", "write " + shape}
	}
	port := u.Port()
	if port == "" {
		port = usualPort[scheme]
	}
	address := net.JoinHostPort(u.Hostname(), port)
	host, number, err := hostport.Parse(address)
	if err != nil || host == "" {
		return Place{}, &ConfigError{KeyVia, fmt.Sprintf("%q is no host and port", u.Host), "write " + shape}
	}
	return Place{Scheme: scheme, User: u.User.Username(), Host: host, Port: number, Address: address}, nil
}

// maxSOCKSLogin is RFC 1929's limit of both fields, in bytes.
const maxSOCKSLogin = 255

// newPlain makes the hop of socks5, http and https.
func newPlain(c Config, p Place) (Hop, error) {
	if c.PasswordFile != "" && p.User == "" {
		return nil, &ConfigError{KeyPasswordFile, "the URL has no user that it could be the password of", "write " + p.Scheme + "://user@" + p.Address}
	}
	if p.User != "" && c.PasswordFile == "" {
		return nil, &ConfigError{KeyPasswordFile, "the URL has a user, and there is no password", "name the file that holds it, or leave the user out"}
	}
	password := SecretFile(c.PasswordFile)
	text, err := password.Read(context.Background())
	if err != nil {
		return nil, Unreadable(KeyPasswordFile, err)
	}
	if p.Scheme == schemeSOCKS {
		if max(len(text), len(p.User)) > maxSOCKSLogin {
			return nil, &ConfigError{KeyPasswordFile, "user or password has more than 255 bytes", "SOCKS5 has room for no more; use shorter ones"}
		}
		return &socksHop{connect: c.DialProxy, address: p.Address, user: p.User, password: password}, nil
	}
	if strings.Contains(p.User, ":") {
		return nil, &ConfigError{KeyVia, "the user has a colon in it, which would end it", "use another user"}
	}
	h := &connectHop{connect: c.DialProxy, address: p.Address, user: p.User, password: password}
	if p.Scheme == schemeHTTPS {
		h.tls = &tls.Config{MinVersion: tls.VersionTLS12}
		if c.TLS != nil {
			h.tls = c.TLS.Clone()
		}
		if h.tls.ServerName == "" {
			h.tls.ServerName = p.Host
		}
	}
	return h, nil
}

// newExec makes the Dialer of a command.
func newExec(c Config, command string) (*Dialer, error) {
	words, err := splitWords(command)
	const fix = "write exec:CMD {host} {port}, with quotes around words that have blanks or signs in them; " +
		"where a shell is needed, exec:sh -c 'CMD {host} {port}'"
	switch {
	case err != nil:
		return nil, &ConfigError{KeyVia, "the command cannot be split into words: " + err.Error(), fix}
	case len(words) == 0:
		return nil, &ConfigError{KeyVia, "there is no command", fix}
	case strings.Contains(words[0], placeHost) || strings.Contains(words[0], placePort):
		return nil, &ConfigError{KeyVia, "the command itself would be a broker's text", fix}
	}
	all := strings.Join(words[1:], " ")
	for _, place := range []string{placeHost, placePort} {
		if !strings.Contains(all, place) {
			return nil, &ConfigError{
				KeyVia, "the command has no " + place + ", so that all brokers would be one", "put " + place + " where the command takes it",
			}
		}
	}
	path, err := exec.LookPath(words[0])
	if err != nil {
		return nil, &ConfigError{KeyVia, err.Error(), "install it, or write its whole path"}
	}
	return &Dialer{
		name: schemeExec + ":" + words[0], timeout: c.Timeout,
		hop: &execHop{path: path, words: words, onStderr: c.OnStderr},
	}, nil
}

// Unreadable is the mistake of a file, named by key, that cannot be read.
func Unreadable(key string, err error) *ConfigError {
	return &ConfigError{key, err.Error(), "name a file that this process may read"}
}
