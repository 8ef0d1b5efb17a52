package tlsconf

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
)

// NameError says that a client asked for a server name that leads nowhere.
type NameError struct {
	Name string // as the client sent it; empty if it sent none
	Err  error  // of the route
}

// Error is the name, quoted, and why it leads nowhere.
func (e *NameError) Error() string {
	if e.Name == "" {
		return fmt.Sprintf("the client asks for no server name (SNI): %v", e.Err)
	}
	return fmt.Sprintf("the client asks for the server name %.255q: %v", e.Name, e.Err) // as long as a name may be
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
	server := tls.Server(conn, &tls.Config{
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
	if err == nil {
		return server, nil
	}
	if refused != nil {
		err = refused
	}
	return nil, newError(downstream, failureOf(err), err)
}

// refusal is a configuration without a certificate. It is how crypto/tls is
// brought to send unrecognized_name; an error of GetConfigForClient would be
// internal_error to the client, which reads as a fault of the proxy. A ticket
// would go past the choice of a certificate, so none is looked at.
func refusal() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, SessionTicketsDisabled: true}
}
