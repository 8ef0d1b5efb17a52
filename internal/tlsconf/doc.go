// Package tlsconf is TLS on both sides of the proxy: the certificates and keys
// of its configuration, kept fresh, and the handshakes that use them.
//
//	files ──▶ store ──▶ Server ──▶ Accept(ctx, conn, route) ──▶ *tls.Conn, or *Error
//	  ▲         │
//	Watch    Events     Client ──▶ Handshake(ctx, conn, host) ─▶ *tls.Conn, or *Error
//
// A [Server] is a listener's side of TLS, a [Client] kproxy's side towards a cluster's
// brokers. Both read their files when they are made, and again when [Watch] finds them
// changed: new connections use the new files, existing connections keep the old ones, and
// invalid files change only [Status]. [Accept] asks its caller which Server a client's
// server name (SNI) belongs to, so several listeners can share a port. A handshake fails
// with an [*Error], whose [Failure] is from a closed set and whose Advice is for the
// reader of the log.
//
// Package crypto/tls chooses the chain for a name, the content of a session ticket and
// the alert of a failure.
//
// The package knows no Kafka, opens no socket and sets no deadline: a handshake ends when
// its context does. It keeps keys in memory; no error and no text of its types has the
// content of a file.
package tlsconf
