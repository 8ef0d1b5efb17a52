package telemetry

import (
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.opentelemetry.io/otel/attribute"

	"kproxy/proxy"
)

// active includes the bootstrap endpoint also without sessions, because an empty sum
// would be absent, and not 0.
func active(l *proxy.ListenerStats) []sample {
	var all []sample
	if !slices.ContainsFunc(l.Active, func(n proxy.NodeCount) bool { return n.Node == proxy.NoNode }) {
		all = append(all, of(0, node(proxy.NoNode)))
	}
	for _, n := range l.Active {
		all = append(all, of(n.Count, node(n.Node)))
	}
	return all
}

// expiry returns each file once, however often the configuration names it.
func expiry(tls *proxy.TLSStats) []sample {
	if tls == nil {
		return nil
	}
	var all []sample
	seen := map[string]bool{}
	for _, c := range tls.Certificates {
		if !seen[c.File] {
			seen[c.File] = true
			all = append(all, of(c.Expires.Unix(), attribute.String(labelFile, c.File)))
		}
	}
	return all
}

func stale(tls *proxy.TLSStats) []sample {
	if tls == nil {
		return nil
	}
	return flag(tls.Stale)
}

// flag is 1 if it is set, else 0.
func flag(set bool) []sample {
	if set {
		return []sample{of(1)}
	}
	return []sample{of(0)}
}

func closed(l *proxy.ListenerStats) []sample {
	var all []sample
	for _, c := range l.Closed {
		all = append(all, of(c.Count, node(c.Node), attribute.String(labelReason, string(c.Reason))))
	}
	return all
}

func requests(l *proxy.ListenerStats) []sample {
	var all []sample
	for _, r := range l.Requests {
		version := "other"
		if r.Version != proxy.Other {
			version = strconv.Itoa(int(r.Version))
		}
		all = append(all, of(r.Count, api(r.Key), attribute.String(labelVersion, version)))
	}
	return all
}

func addresses(l *proxy.ListenerStats) []sample {
	var all []sample
	for _, a := range l.Addresses {
		for _, became := range []struct {
			kind  string
			count int64
		}{{"rewritten", a.Rewritten}, {"dropped", a.Dropped}, {"neutralised", a.Neutralised}} {
			all = append(all, of(became.count, api(a.Key), attribute.String(labelKind, became.kind)))
		}
	}
	return all
}

var (
	up   = attribute.String(labelDirection, "up")
	down = attribute.String(labelDirection, "down")
)

// api names an API as Kafka does. Keys that have no name are numbers.
func api(key int16) attribute.KeyValue {
	name := strconv.Itoa(int(key))
	switch {
	case key == proxy.Other:
		name = "other"
	case kmsg.RequestForKey(key) != nil:
		name = kmsg.NameForKey(key)
	}
	return attribute.String(labelAPI, name)
}

// node names the node whose endpoint a client chose, or that was dialled.
func node(id int32) attribute.KeyValue {
	name := strconv.Itoa(int(id))
	switch id {
	case proxy.NoNode:
		name = "bootstrap"
	case proxy.UnknownNode:
		name = "unknown"
	}
	return attribute.String(labelNode, name)
}

func byAPI(counts []proxy.APICount) []sample {
	var all []sample
	for _, c := range counts {
		all = append(all, of(c.Count, api(c.Key)))
	}
	return all
}
