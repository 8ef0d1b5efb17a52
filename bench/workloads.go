//go:build linux

package main

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// kind is the behaviour of a workload's connections.
type kind string

const (
	requests kind = "requests" // send a request and read the response, repeatedly
	churn    kind = "churn"    // connect, ask once, close
	idle     kind = "idle"     // connect, ask once, stay
	stalled  kind = "stalled"  // requests, beside clients that request much and do not read it
)

// network is the network between the processes.
type network string

const (
	loopback network = "loopback"
	veth     network = "veth"      // two links, MTU 1500, as they are made
	vethBare network = "veth-bare" // the same without TSO, GSO and GRO, as on a wire
)

// workload is one thing that is measured. Its name is a key of the report.
type workload struct {
	Name       string  `json:"name"`
	About      string  `json:"about"`
	Kind       kind    `json:"kind"`
	Net        network `json:"net"`
	Key        int16   `json:"key"`
	Version    int16   `json:"version"`
	Bytes      int     `json:"bytes"`      // of records in a frame; of Metadata, 0
	Partitions int     `json:"partitions"` // that they are spread over
	Conns      int     `json:"conns"`
	InFlight   int     `json:"in_flight"` // requests of one connection, at the maximum
	Others     int     `json:"others"`    // stalled: clients that do not read
	// TLS is on these sides of a target. direct has it between client and broker.
	TLS tlsSides `json:"tls,omitempty"`
	// RateOf is the workload that this one is compared with, and whose pinned rate
	// it has, if that has run; empty: it has its own.
	RateOf string `json:"rate_of,omitempty"`
}

const (
	kib = 1 << 10
	mib = 1 << 20

	// As clients do it by default: five Produce requests in flight, one Fetch.
	produceInFlight = 5
	fetchInFlight   = 1

	produceVersion = 11
	manyPartitions = 10_000
	stalledBytes   = 100_000_000 // of one response that is not read
	stalledSettle  = 2 * time.Second
)

var (
	quickWorkloads = []string{"produce-256B", "fetch-v17-64KiB", "fetch-v17-1MiB"}
	frameSizes     = []int{256, 4 * kib, 64 * kib, mib}
)

func sizeName(n int) string {
	switch {
	case n >= mib:
		return fmt.Sprintf("%dMiB", n/mib)
	case n >= kib:
		return fmt.Sprintf("%dKiB", n/kib)
	default:
		return fmt.Sprintf("%dB", n)
	}
}

// workloads is all of them, in the order of the report.
func workloads() []workload {
	var all []workload
	for _, size := range frameSizes {
		all = append(all, produceOf(size, 8))
	}
	for _, version := range []int16{11, 17} {
		for _, size := range frameSizes {
			all = append(all, fetchOf(version, size, 8))
		}
	}
	spread := fetchOf(17, mib, 8).named("-100p", ", in 100 partitions")
	spread.Partitions, spread.RateOf = 100, fetchOf(17, mib, 8).Name
	all = append(all, spread,
		workload{
			Name: "metadata-10000p", About: "Metadata of 10,000 partitions", Kind: requests, Net: loopback,
			Key: kmsg.Metadata.Int16(), Version: 12, Partitions: manyPartitions, Conns: 4, InFlight: 1,
		},
		produceOf(4*kib, 1).named("-1conn", ""), produceOf(4*kib, 100).named("-100conns", ""),
		produceOf(4*kib, 1000).named("-1000conns", ""), produceOf(4*kib, 5000).named("-5000conns", ""),
		fetchOf(17, 64*kib, 1).named("-1conn", ""), fetchOf(17, 64*kib, 100).named("-100conns", ""),
		asking("churn", churn, 16, "connect, one ApiVersions, close; 16 at a time"),
		asking("idle-1000", idle, 1000, "1,000 connections that have asked for ApiVersions"),
		asking("idle-5000", idle, 5000, "5,000 connections that have asked for ApiVersions"))
	all = append(all, stalledBeside(loopback)...)
	all = append(all, overTLSWorkloads()...)
	for _, n := range []network{veth, vethBare} {
		all = append(all, fetchOf(17, mib, 8).over(n), fetchOf(17, 64*kib, 8).over(n),
			produceOf(64*kib, 8).over(n), produceOf(256, 8).over(n))
		all = append(all, stalledBeside(n)...)
	}
	return all
}

func produceOf(size, conns int) workload {
	return workload{
		Name: "produce-" + sizeName(size), About: fmt.Sprintf("Produce v%d of %s, %d in flight", produceVersion, sizeName(size), produceInFlight),
		Kind: requests, Net: loopback, Key: kmsg.Produce.Int16(), Version: produceVersion,
		Bytes: size, Partitions: 1, Conns: conns, InFlight: produceInFlight,
	}
}

func fetchOf(version int16, size, conns int) workload {
	return workload{
		Name: fmt.Sprintf("fetch-v%d-%s", version, sizeName(size)), About: fmt.Sprintf("Fetch v%d of %s", version, sizeName(size)),
		Kind: requests, Net: loopback, Key: kmsg.Fetch.Int16(), Version: version,
		Bytes: size, Partitions: 1, Conns: conns, InFlight: fetchInFlight,
	}
}

func asking(name string, kind kind, conns int, about string) workload {
	return workload{
		Name: name, About: about, Kind: kind, Net: loopback, Key: kmsg.ApiVersions.Int16(), Version: 3,
		Conns: conns, InFlight: 1,
	}
}

// stalledBeside is one healthy reader of 64 KiB frames, beside 0, 100 and 200
// that have stopped.
func stalledBeside(n network) []workload {
	var all []workload
	for _, others := range []int{0, 100, 200} {
		w := fetchOf(17, 64*kib, 1).over(n)
		w.Kind, w.Others = stalled, others
		w.Name = fmt.Sprintf("stalled-%d", others)
		if n != loopback {
			w.Name = string(n) + "-" + w.Name
		}
		if others > 0 {
			w.RateOf = all[0].Name
		}
		w.About = fmt.Sprintf("one reader of 64 KiB responses beside %d that stopped in one of 100 MB", others)
		all = append(all, w)
	}
	return all
}

// overTLSWorkloads are some of the others with TLS: to clients (the usual case), also by
// size, and to brokers.
func overTLSWorkloads() []workload {
	var all []workload
	for _, size := range frameSizes[1:] {
		all = append(all, produceOf(size, 8).secured(tlsDown))
	}
	for _, size := range frameSizes[1:] {
		all = append(all, fetchOf(17, size, 8).secured(tlsDown))
	}
	all = append(all, asking("churn", churn, 16, "connect, a whole handshake, one ApiVersions, close; 16 at a time").secured(tlsDown),
		asking("idle-1000", idle, 1000, "1,000 connections that have asked for ApiVersions").secured(tlsDown))
	for _, sides := range []tlsSides{tlsUp, tlsBoth} {
		all = append(all, produceOf(4*kib, 8).secured(sides), fetchOf(17, 64*kib, 8).secured(sides), fetchOf(17, mib, 8).secured(sides))
	}
	return all
}

func (w workload) secured(sides tlsSides) workload {
	w.Name = "tls-" + string(sides) + "-" + w.Name
	w.TLS = sides
	return w
}

func (w workload) named(suffix, about string) workload {
	w.Name += suffix
	w.About += about
	return w
}

// Describe describes the work, the number of connections and the network.
func (w workload) Describe() string {
	text := w.About
	if w.Kind == requests {
		text += ", " + plural(w.Conns, "connection")
	}
	if w.hasTLS() {
		text += ", " + w.TLS.Text()
	}
	if w.Net != loopback {
		text += ", " + string(w.Net)
	}
	return text
}

func (w workload) over(n network) workload {
	if n == loopback {
		return w
	}
	w.Name = string(n) + "-" + w.Name
	w.Net = n
	return w
}

func (w workload) hasTLS() bool { return w.TLS != noTLS }

// real reports whether a real cluster can serve the workload.
func (w workload) real() bool {
	if w.hasTLS() {
		return false // it has not our key
	}
	switch w.Kind {
	case churn, idle:
		return true
	case requests:
		return w.Partitions == 1 && w.Key != kmsg.Metadata.Int16()
	default:
		return false
	}
}

// loads is how many offered loads it is measured at: the maximum, and the pinned
// rate.
func (w workload) loads() int {
	if w.Kind == idle {
		return 1
	}
	return 2
}

// fresh reports whether each turn needs a new process: memory that the last turn has
// freed still belongs to its process.
func (w workload) fresh() bool { return w.Kind == idle || w.Kind == stalled }

// warmup is how long a turn of it runs before it is measured.
func (w workload) warmup(d time.Duration) time.Duration {
	if w.Kind == stalled && w.Others > 0 {
		return max(d, stalledSettle)
	}
	return d
}

// frameBytes is the size of the larger of request and response.
func (w workload) frameBytes() int {
	return max(len(requestFrame(w)), len(responseFrame(w)))
}
