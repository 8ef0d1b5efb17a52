// Package speaks names the service behind a port that gave no Kafka response.
//
// [Classify] is pure: it finds the protocol from the bytes that a port sent. [Ask] opens
// at most a few more connections, sends no secret on them, and classifies the response:
//
//	Kafka request ── bytes that are no Kafka response ──▶ Classify
//	             └── nothing, or the end ──▶ Ask ── listens first ──▶ Classify
//	                                              ├─ then says hello in TLS, or in Kafka
//	                                              └─ where that ends at once: a PROXY
//	                                                 header, and ZooKeeper's srvr
//
// The type to know is [Peer]. Its texts come from a peer: they are one line each, of a
// bounded length.
package speaks
