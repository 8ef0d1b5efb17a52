// Package via opens connections to brokers that only another machine, or another program,
// can reach.
//
//	socks5://[user@]host:port       SOCKS5 (RFC 1928), password by RFC 1929
//	http://[user@]host:port         HTTP CONNECT, basic authorization
//	https://[user@]host:port        the same inside TLS
//	ssh://[user@]host[:port]        direct-tcpip channels of one shared connection
//	exec:CMD {host} {port}          a command's standard input and output
//
//	Config ── New ──▶ Dialer ── DialContext ──▶ net.Conn
//	                    │                          *net.TCPConn itself: socks5, http
//	                    └── Close                  a conn of this package: ssh, exec
//
// [Dialer.DialContext] has the shape of net.Dialer's, so that it can replace one. Names
// are always resolved at the far side: the proxy gets the broker's own name, which is not
// resolved here. Only the proxy's name is resolved here.
//
// Each error of a dial is an [*Error], whose [Outcome] says which hop failed: the
// proxy, the login there, or the way from the proxy to the broker. Each mistake in
// a [Config] is a [*ConfigError] with its fix. Passwords, passphrases and keys come
// from files, which are read again for each login, and are in no error and in no
// String.
//
// A command is not run by a shell; words.go has the reason, and the form for a command
// that needs a shell. A host name that a broker gives goes into its arguments only if it
// is one: letters, digits, dots, hyphens and underscores, no hyphen in front, or an IP
// address.
//
// Package viassh makes the way of ssh. It comes in as [Config].SSH, so that x/crypto/ssh is
// linked only where it is wanted.
//
// The package does not decide which addresses may be dialled, knows no broker and no
// rule, and reads neither ~/.ssh/config nor the proxy variables of the environment.
package via
