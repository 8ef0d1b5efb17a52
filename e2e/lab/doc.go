// Package lab is shared by the end-to-end tests, the compatibility matrix and the fault
// campaign: Kafka as processes, in any release from 2.2 with ZooKeeper on, networks with
// nothing but an address of their own, and the programs of a user.
//
//	release.go    which Kafka: its jars, resolved by Maven once, and how it starts
//	cluster.go    brokers of one release, and when they are whole
//	broker.go     one of them: its configuration, its process
//	namespace.go  a network of its own, and the links between two
//	tun.go        a link that loses, delays and forges packets
//	names.go      a name server whose names change
//	kproxy.go     the usual binary
//	cache.go      software that is installed once, such as Python's libraries
//	metrics.go    kproxy's admin server
//	machine.go    the revision and the machine: for the pages that runs write
//	process.go    a server with a log; child.go: a child that cannot outlive us
//
// Nothing is skipped: a missing program is an error that says what to install.
// Everything lives as long as the context that it was started with, and under
// one directory.
package lab
