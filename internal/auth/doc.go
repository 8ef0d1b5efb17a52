// Package auth does logins: kproxy's own at brokers, and those of clients at kproxy.
//
//	SASL (configuration) ──New──▶ Method ──Begin──▶ Login: requests and responses
//	                                │
//	                                └─LogIn──▶ a whole login over a new connection
//
// A [Method] is the way to log in at a cluster: a mechanism, and the place of its
// secrets. They are read again at every login, so that they can be replaced while kproxy
// runs. A [Login] is one login as a series of requests. It does not send them. LogIn
// sends them on a new connection. Package proxy sends them between a client's requests,
// when it logs in again (KIP-368).
//
// The mechanisms themselves are franz-go's (pkg/sasl). The package opens no connection to
// a broker and keeps none; the libraries of OAuth and AWS ask their endpoints.
package auth
