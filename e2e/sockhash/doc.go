// Package sockhash puts TCP sockets into an eBPF sockhash, as agents that observe or secure a
// machine do. Its tests have kproxy's sockets, and those of its clients and brokers, in one. The
// fault campaign (e2e/faults) has those of Kafka and of all clients, too. Both need root, and a
// kernel that allows bpf(2).
package sockhash
