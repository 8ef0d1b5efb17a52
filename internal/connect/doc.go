// Package connect is kproxy connect without its command line: from the addresses that
// a user has to a proxy on this machine that clients can use.
//
//	addresses ── Learn ──▶ Cluster ── pair ──▶ who is at which address
//	                                              │
//	Ports: kept per cluster across runs ──────────┤
//	                                              ▼
//	                                     proxy.Config, which is run as serve runs it
//
// [Options] are what the user has said, by flags or by a client's configuration
// ([FromFile]). [Session] asks the cluster, runs the proxy and looks after it: when
// brokers come that nobody knew, it looks again for who is where.
//
// A node is dialled at an address of the user's only when it is known to be there:
// it is the cluster's only one; a DescribeConfigs of its own succeeds there, which a
// broker answers for itself alone; ApiVersions v5 takes its id (KIP-1242); its name or
// what that resolves to is the address; or the user says so. In a cluster of several it
// is dialled where it says that it is, if that works. Otherwise nowhere: never as
// another node.
//
// kproxy doctor is [Options.Examine]: the same questions, asked where a client without
// kproxy would. What the results mean for it is judged by package doctor.
//
// The package dials nobody by itself. What it asks goes over the proxy's own dialer,
// so that what it learns is what clients will meet.
package connect
