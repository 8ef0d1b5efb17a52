// Package cluster knows who the brokers of one Kafka cluster are, and how each is reached.
//
// A Cluster keeps a map of the brokers (internal/endpoints). It learns from the responses that
// pass through kproxy (Learn), from questions of its own (Ask, Inquire, and after a response
// that differs from the map), and from a state file (Restore, KeepState). It dials brokers
// through the dial rules, the via, TLS and the login of its configuration (DialAny, DialNode),
// and tells a session which address a node has on a listener (Advertise).
//
// A Cluster knows neither sessions nor sockets of clients. Options has the code that it calls.
package cluster
