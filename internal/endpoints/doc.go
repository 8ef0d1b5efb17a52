// Package endpoints maps the brokers of a cluster: their advertised addresses, and the
// slot of each listener that belongs to each of them. It opens no socket and reads no
// clock: responses go in, slots come out.
//
//	Metadata ──Teach──▶ ┌──────────────── Map ────────────────┐
//	others   ──Add────▶ │ node 3 = broker-3.internal:9092     │──Node──▶ address to dial
//	a dial   ──Failed─▶ │ listener fred: node 3 -> slot 3     │──Slot──▶ to advertise
//	                    └─────────────────────────────────────┘──NodeAt─▶ whose endpoint
//
// The type to know is [Map]. A slot is a place in a listener's range of ports
// or addresses; its meaning is known to the listener only.
//
// Node n has slot n - FirstNode, or the one that is pinned for it. Two proxies
// with one configuration agree on that without talking. A node outside the
// range takes a free slot, from the top of the range, where ids that count up
// from FirstNode come last; replicas may differ about those.
//
// A slot that was given away stays: an endpoint reaches its own broker or none.
package endpoints
