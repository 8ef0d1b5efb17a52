// Package simulate runs a [proxy.Proxy] through scripts of clients, brokers, faults and
// reloads, and checks after each step that nothing is lost, leaked or left over.
//
//	seed ──Generate──▶ Script ◀──Parse── testdata/*.script
//	                     │ one step a line: "120ms client 3 sends fetch/17 2"
//	                     ▼
//	                   Run: the director, step by step
//	    ┌────────────────┼─────────────────────────────┐
//	    ▼                ▼                             ▼
//	 clients ──network──▶ proxy.Proxy ──network──▶ brokers
//	    │                │ Observer, Stats             │
//	    └──── record ◀───┴───────── record ────────────┘
//	                     │
//	                     ▼
//	                 invariants ──▶ findings
//
// The network is one of two. [Memory] is for a bubble of testing/synctest: it delays bytes,
// cuts them into pieces, and has a window; time costs nothing. Package netlab's is TCP on
// loopback, where the proxy splices and parks.
//
// A seed fixes the script and the delays of each connection. It does not fix the order of
// goroutines, so a seed that has failed can pass. The test runs it again, many times, and
// reports how often it fails.
package simulate
