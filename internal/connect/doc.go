// Package connect is kproxy connect without its command line: from the addresses that
// a user has to a proxy on this machine that clients can use.
//
//	addresses ── Learn ──▶ Cluster ── pair ──▶ each broker's address
//	                                              │
//	Ports: kept per cluster across runs ──────────┤
//	                                              ▼
//	                                     proxy.Config, which is run as serve runs it
//
// [Options] are the user's settings, by flags or by a client's configuration
// ([FromFile]). [Session] asks the cluster, runs the proxy and maintains it: when unknown
// brokers come, it locates them.
//
// A node is dialled at an address of the user's only when it is known to be there: it is
// the cluster's only one; a DescribeConfigs of the node succeeds there, which a broker
// serves for itself alone; ApiVersions v5 takes its id (KIP-1242); its name or a resolved
// address of the name is the address; or the user says so. In a cluster of several it is
// dialled at its advertised address, if that works. Otherwise it is dialled nowhere,
// never as another node.
//
// kproxy doctor is [Options.Examine]: the same requests, sent to the addresses that a
// client without kproxy would use. Package doctor judges the results.
//
// The package does not dial. It uses the proxy's own dialer, so that its results are
// those of clients.
package connect
