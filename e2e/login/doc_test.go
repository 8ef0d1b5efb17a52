//go:build e2e

// Package login connects real clients to a real broker, which wants a login every five
// seconds, in each way: with a login that passes through, logged in by kproxy, and
// logging in at kproxy; in plaintext and in TLS; by each mechanism that Kafka serves by
// itself. GSSAPI is not among them, as it takes a Kerberos realm.
package login
