// Package live checks a configuration against its clusters, and against the addresses that
// its listeners advertise. It checks a kproxy that runs by these addresses alone. It is kproxy
// check --live without its command line.
//
//	Config ── bootstraps ──▶ brokers ── nodes ──▶ each responds as itself
//	             │
//	             ▼ for each listener
//	   slots ─▶ certificates ─▶ walk: names ─▶ bootstrap ─▶ brokers heard ─▶ each node
//	                              ▲
//	Running ── Listener ──────────┘
//
// The types to know are [Options] and [Report]. A [Finding] has the configuration key that
// it is about. Texts of peers in it are one line each, of a bounded length.
//
// Towards the brokers the package connects as serve does: by a Proxy of the same configuration
// that is never started. Towards the listeners it connects as a client does. It binds nothing,
// writes nothing, and locks nothing, so it can run beside the kproxy that it checks.
package live
