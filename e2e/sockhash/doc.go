// Package sockhash has tests of kproxy whose sockets, and those of its clients and brokers, are in an
// eBPF sockhash, as agents that observe or secure a machine put them there. They need root, and a
// kernel that allows bpf(2).
package sockhash
