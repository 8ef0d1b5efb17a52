package tlsconf

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
)

// NameError says that a client asked for an unknown server name.
type NameError struct {
	Name string // as the client sent it; empty if it sent none
	Err  error  // of the route
}

// Error is the name, quoted, and the reason.
func (e *NameError) Error() string {
	if e.Name == "" {
		return fmt.Sprintf("the client asks for no server name (SNI): %v", e.Err)
	}
	return fmt.Sprintf("the client asks for the server name %.255q: %v", e.Name, e.Err) // the longest valid name
}

// Unwrap returns the error of the route.
func (e *NameError) Unwrap() error { return e.Err }

// Accept does the server's part of a handshake on conn. When the client's first message
// is there, route is called once with the server name that it asks for, empty if it asks
// for none, as clients do whose server is an IP address. It returns the client's Server,
// or an error. The name is in the connection's ConnectionState afterwards.
//
// An error is an [*Error]; one of route's is a [*NameError] in it, and the client has
// been sent unrecognized_name. When ctx is done the handshake fails, by its deadline as
// [Timeout]. The caller closes conn on any error.
func Accept(ctx context.Context, conn net.Conn, route func(serverName string) (*Server, error)) (*tls.Conn, error) {
	var refused *NameError
	under := &alertWatch{Conn: conn}
	server := tls.Server(under, &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			s, err := route(hello.ServerName)
			if err != nil {
				refused = &NameError{Name: hello.ServerName, Err: err}
				return refusal(), nil //nolint:nilerr // the refusal fails, with the right alert
			}
			return s.current.Load().config, nil
		},
	})
	err := server.HandshakeContext(ctx)
	under.done = true
	if err == nil {
		return server, nil
	}
	err = under.alertInstead(err)
	if refused != nil {
		err = refused
	}
	return nil, newError(downstream, failureOf(err), err)
}

// refusal is a configuration without a certificate. It makes crypto/tls send
// unrecognized_name. For an error of GetConfigForClient it sends internal_error, which
// looks like a fault of the proxy. With a ticket no certificate would be chosen, so
// tickets are disabled.
func refusal() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, SessionTicketsDisabled: true}
}
