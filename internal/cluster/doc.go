// Package cluster keeps the brokers of one Kafka cluster, and dials them.
//
// A Cluster has a map of the brokers (internal/endpoints). It learns from the responses that
// pass through kproxy (Learn), from requests of its own (Ask, Inquire, and after a response
// that differs from the map), and from a state file (Restore, KeepState). It dials brokers
// by the dial rules, the via, TLS and the login of its configuration (DialAny, DialNode),
// and gives each broker of a response its address on a listener (Advertise). Of a response that
// names another Kafka cluster it decides whether the map follows (identity.go).
//
// A Cluster has neither sessions nor sockets of clients. Options has the functions that it
// calls.
package cluster
