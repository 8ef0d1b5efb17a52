// Package tlsconf is TLS on both sides of the proxy: the certificates and keys
// of its configuration, kept fresh, and the handshakes that use them.
//
//	files ──▶ store ──▶ Server ──▶ Accept(ctx, conn, route) ──▶ *tls.Conn, or *Error
//	  ▲         │
//	Watch    Events     Client ──▶ Handshake(ctx, conn, host) ─▶ *tls.Conn, or *Error
//
// A [Server] is what a listener shows its clients, a [Client] what a cluster's
// brokers see. Both read their files when they are made, and again when [Watch]
// finds them changed: new connections use the new ones, connections that are
// there keep what they have, and files that are no good change nothing but
// [Status]. [Accept] asks its caller which Server a client's server name (SNI)
// belongs to, so several listeners can share a port. Why a handshake failed is
// an [*Error], whose [Failure] is from a closed set and whose Advice says what to
// do about it.
//
// What crypto/tls does well is left to it: which chain fits a name, what is
// sealed into a session ticket, which alert goes with which failure.
//
// The package knows no Kafka, opens no socket and sets no deadline: a handshake
// ends when its context does. It keeps keys in memory; no error and no text of
// its types holds what a file contains.
package tlsconf
