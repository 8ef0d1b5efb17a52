// Package speaks names the service behind a port that gave no Kafka response.
//
// [Classify] is pure: from the bytes that a port sent it tells the protocol. [Ask]
// opens at most a few connections more, sends nothing secret on them, and tells what
// came back:
//
//	Kafka request ── bytes that are no Kafka response ──▶ Classify
//	             └── nothing, or the end ──▶ Ask ── listens first ──▶ Classify
//	                                              ├─ then says hello in TLS, or in Kafka
//	                                              └─ where that ends at once: a PROXY
//	                                                 header, and ZooKeeper's srvr
//
// The type to know is [Peer]. Its texts are a stranger's: they are one line each, of a
// bounded length.
package speaks
