// Package upstream connects to brokers.
//
//	Target              Rules                     Dialer
//	node 3,             first match wins:         resolve, refuse addresses not to be
//	broker-3.vpc:9092 → at 127.0.0.1:19095      → dialled, keep-alive          → net.Conn
//	                                              or Through: another machine
//	                                              does it (package via)
//
// [Rules] give the address at which a broker is reached, where that is not the advertised
// one: through a port forward, in another network, behind another name. They are the
// `dial` rules of the configuration, compiled once by [Compile] and asked for every dial.
// [Dialer] applies them and opens the connection.
//
// A rule changes where a connection goes and nothing else: the broker keeps its own name,
// which TLS asks for and verifies.
//
// A tool that explains why a broker cannot be reached uses this same code. TLS is package
// tlsconf's, a way through a proxy is package via's.
//
// The package knows no Kafka frame, no listener and no client; it keeps no
// state between dials.
package upstream
