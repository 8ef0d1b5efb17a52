// Package upstream is THE WAY OUT: how kproxy gets from "this broker" to a
// connection to it.
//
//	Target              Rules                     Dialer
//	node 3,             first match wins:         resolve, refuse what may not be
//	broker-3.vpc:9092 → at 127.0.0.1:19095      → dialled, keep-alive          → net.Conn
//	                                              or Through: another machine
//	                                              does it (package via)
//
// [Rules] say where a broker is really reached, when that is not where it says
// it is: through a port forward, in another network, behind another name. They
// are the `dial` rules of the configuration, compiled once by [Compile] and
// asked for every dial. [Dialer] applies them and opens the connection.
//
// A rule changes where a connection goes and nothing else: the broker keeps its
// own name, so that what TLS asks for and verifies is the one that the broker goes
// by.
//
// What else belongs here as it is built, in the order in which a connection
// meets it: logging in for the client (SASL), and logging in again before the
// session ends. A tool that explains why a broker cannot be reached walks this
// same code. TLS is package tlsconf's, a way through a proxy is package via's.
//
// The package knows no Kafka frame, no listener and no client; it keeps no
// state between dials.
package upstream
