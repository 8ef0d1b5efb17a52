// Package auth knows who is who: it holds kproxy's own login at brokers.
//
//	SASL (configuration) ──New──▶ Method ──Begin──▶ Login: requests and answers
//	                                │
//	                                └─LogIn──▶ a whole login over a new connection
//
// A [Method] is what a cluster is logged in to with: a mechanism, and where its
// secrets are. They are read again at every login, so that they can be replaced
// while kproxy runs. A [Login] is one login as the requests that it takes; who
// sends them is not its matter. On a new connection that is LogIn; on one that
// carries a client's requests it is package proxy, which logs in again between
// two of them (KIP-368).
//
// The mechanisms themselves are franz-go's (pkg/sasl). The package opens no
// connection to a broker and keeps none; a token endpoint, or AWS, is asked by
// their own libraries.
package auth
