package telemetry

import (
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"kproxy/proxy"
)

// family is one entry of the catalogue. Its name is Prometheus's and OTLP's
// alike. Exactly one of the functions is set; it returns the samples of the configuration,
// of the proxy, of one cluster, or of one listener, without the labels that name these.
type family struct {
	name, unit, help string
	kind             kind
	ofConfig         func(*State) []sample
	ofProxy          func(*proxy.Snapshot) []sample
	ofCluster        func(*proxy.ClusterStats) []sample
	ofListener       func(*proxy.ListenerStats) []sample
	durations        func(*proxy.ListenerStats) []proxy.DurationStats // for a histogram by API
}

type kind int

const (
	counter kind = iota // only grows
	gauge
	histogram
)

// sample is a value with its labels.
type sample struct {
	value  int64
	labels []attribute.KeyValue
}

func of(value int64, labels ...attribute.KeyValue) sample { return sample{value, labels} }

// The labels.
const (
	labelCluster   = "cluster"
	labelListener  = "listener"
	labelNode      = "node"
	labelReason    = "reason"
	labelDirection = "direction"
	labelPath      = "path"
	labelAPI       = "api"
	labelVersion   = "version"
	labelOutcome   = "outcome"
	labelKind      = "kind"
	labelLeader    = "leader"
	labelFile      = "file"
)

// catalogue returns all metrics of the proxy.
func catalogue() []family {
	return slices.Concat(configMetrics(), handoverMetrics(), proxyMetrics(), listenerMetrics(), routingMetrics(), clusterMetrics())
}

func configMetrics() []family {
	return []family{
		{
			name: "kproxy_config_generation", unit: "1", help: "The configuration in use: 1 at the start, one more for each change that was applied.", kind: gauge,
			ofConfig: func(s *State) []sample { return []sample{of(int64(s.Generation))} },
		},
		{
			name: "kproxy_config_last_reload_timestamp_seconds", unit: "s", help: "When the configuration was last read to be applied, in Unix time.", kind: gauge,
			ofConfig: func(s *State) []sample { return []sample{of(s.LastReload.Unix())} },
		},
		{
			name: "kproxy_config_reloads_total", unit: "{reload}", help: "Times that the configuration was read to be applied, by how it went.",
			ofConfig: func(s *State) []sample {
				return []sample{
					of(s.Reloads.Applied, attribute.String(labelOutcome, "applied")),
					of(s.Reloads.HeldBack, attribute.String(labelOutcome, "held_back")),
					of(s.Reloads.Refused, attribute.String(labelOutcome, "refused")),
				}
			},
		},
		{
			name: "kproxy_config_last_reload_success", unit: "1", help: "1 if the configuration that was read last is in use, 0 if it had a mistake.", kind: gauge,
			ofConfig: func(s *State) []sample {
				if s.Failed {
					return []sample{of(0)}
				}
				return []sample{of(1)}
			},
		},
	}
}

// handoverMetrics are absent, but for the failures, in a process that did not take over from another.
func handoverMetrics() []family {
	at := func(t time.Time) []sample {
		if t.IsZero() {
			return nil
		}
		return []sample{of(t.Unix())}
	}
	return []family{
		{
			name: "kproxy_handover_timestamp_seconds", unit: "s", help: "When this process took over from its predecessor, in Unix time.", kind: gauge,
			ofConfig: func(s *State) []sample { return at(s.Handover.Took) },
		},
		{
			name: "kproxy_handover_predecessor_sessions", unit: "{session}", help: "Client connections that the predecessor still has.", kind: gauge,
			ofConfig: func(s *State) []sample {
				if s.Handover.Took.IsZero() {
					return nil
				}
				return []sample{of(int64(s.Handover.Sessions))}
			},
		},
		{
			name: "kproxy_handover_predecessor_end_timestamp_seconds", unit: "s", help: "When the predecessor ended, in Unix time.", kind: gauge,
			ofConfig: func(s *State) []sample { return at(s.Handover.Ended) },
		},
		{
			name: "kproxy_handover_failures_total", unit: "{handover}", help: "Hand-overs in which the new process did not take over.",
			ofConfig: func(s *State) []sample { return []sample{of(s.Handover.Failures)} },
		},
	}
}

func proxyMetrics() []family {
	return []family{
		{
			name: "kproxy_held_bytes", unit: "By", help: "Bytes held for all clients, beside their buffers.", kind: gauge,
			ofProxy: func(s *proxy.Snapshot) []sample { return []sample{of(s.HeldBytes)} },
		},
		{
			name: "kproxy_held_bytes_limit", unit: "By", help: "The limit of kproxy_held_bytes (limits.max_held_bytes).", kind: gauge,
			ofProxy: func(s *proxy.Snapshot) []sample { return []sample{of(s.MaxHeldBytes)} },
		},
		{
			name: "kproxy_sessions_waiting", unit: "{session}", help: "Client connections that wait for their turn: a TLS handshake, a first request, a whole frame.", kind: gauge,
			ofProxy: func(s *proxy.Snapshot) []sample { return []sample{of(s.Waiting)} },
		},
		{
			name: "kproxy_splice_hidden_total", unit: "{direction}", help: "Directions of connections that are copied because splice did not find their bytes: an eBPF program has the socket.",
			ofProxy: func(s *proxy.Snapshot) []sample { return []sample{of(s.SplicesHidden)} },
		},
		{
			name: "kproxy_splice_refused_total", unit: "{direction}", help: "Directions of connections that are copied because the system refuses to splice them, as sandboxes do.",
			ofProxy: func(s *proxy.Snapshot) []sample { return []sample{of(s.SplicesRefused)} },
		},
		{
			name: "kproxy_accept_pauses_total", unit: "{pause}", help: "How often a listening socket accepted nothing for a moment, because 1,024 connections waited.",
			ofProxy: func(s *proxy.Snapshot) []sample { return []sample{of(s.AcceptPauses)} },
		},
	}
}

func listenerMetrics() []family {
	return []family{
		{
			name: "kproxy_sessions_opened_total", unit: "{session}", help: "Client connections accepted.",
			ofListener: func(l *proxy.ListenerStats) []sample { return []sample{of(l.Opened)} },
		},
		{
			name: "kproxy_sessions_closed_total", unit: "{session}", help: "Client connections that have ended, by why.",
			ofListener: closed,
		},
		{
			name: "kproxy_sessions_active", unit: "{session}", help: "Client connections that are open.", kind: gauge,
			ofListener: active,
		},
		{
			name: "kproxy_bytes_total", unit: "By", help: "Bytes written: up to the brokers, down to the clients.",
			ofListener: func(l *proxy.ListenerStats) []sample {
				copied, spliced := attribute.String(labelPath, "copy"), attribute.String(labelPath, "splice")
				return []sample{
					of(l.Up.Copied, up, copied), of(l.Down.Copied, down, copied),
					of(l.Up.Spliced, up, spliced), of(l.Down.Spliced, down, spliced),
				}
			},
		},
		{
			name: "kproxy_splice_misses_total", unit: "{miss}", help: "How often bytes were copied because no kernel pipe was free, or the connection is not spliced.",
			ofListener: func(l *proxy.ListenerStats) []sample {
				return []sample{of(l.Up.Misses, up), of(l.Down.Misses, down)}
			},
		},
		{
			name: "kproxy_frames_total", unit: "{frame}", help: "Requests (up), and brokers' responses to them (down).",
			ofListener: func(l *proxy.ListenerStats) []sample {
				return []sample{of(l.Up.Frames, up), of(l.Down.Frames, down)}
			},
		},
		{
			name: "kproxy_requests_total", unit: "{request}", help: "Requests read, also those without a response.",
			ofListener: requests,
		},
		{
			name: "kproxy_request_duration_seconds", unit: "s", help: "From a request's head to its response's head, long polls included.",
			kind: histogram, durations: func(l *proxy.ListenerStats) []proxy.DurationStats { return l.Durations },
		},
		{
			name: "kproxy_addresses_total", unit: "{address}", help: "Broker addresses in responses, by outcome.",
			ofListener: addresses,
		},
		{
			name: "kproxy_requests_refused_total", unit: "{request}", help: "Requests that a listener's apis refuse.",
			ofListener: func(l *proxy.ListenerStats) []sample { return byAPI(l.Refused) },
		},
		{
			name: "kproxy_apis_hidden_total", unit: "{api}", help: "APIs left out of ApiVersions responses.",
			ofListener: func(l *proxy.ListenerStats) []sample { return byAPI(l.HiddenAPIs) },
		},
		{
			name: "kproxy_listener_certificate_expiry_timestamp_seconds", unit: "s", help: "When a certificate ends that clients are shown, or the last CA of client_ca, in Unix time.", kind: gauge,
			ofListener: func(l *proxy.ListenerStats) []sample { return expiry(l.TLS) },
		},
		{
			name: "kproxy_listener_certificates_stale", unit: "1", help: "1 if the files of the listener's tls are no good and those from before are used.", kind: gauge,
			ofListener: func(l *proxy.ListenerStats) []sample { return stale(l.TLS) },
		},
		{
			name: "kproxy_listener_users_stale", unit: "1", help: "1 if the listener's users file is no good and the users from before may log in.", kind: gauge,
			ofListener: func(l *proxy.ListenerStats) []sample {
				if l.UsersStale == nil {
					return nil
				}
				return flag(*l.UsersStale)
			},
		},
		{
			name: "kproxy_transactions_lowered_total", unit: "{answer}", help: "ApiVersions responses of a cluster whose transactions are newer than this build.",
			ofListener: func(l *proxy.ListenerStats) []sample { return []sample{of(l.TransactionsLowered)} },
		},
	}
}

// routingMetrics show where another broker than the one that a client asks for responds.
func routingMetrics() []family {
	return []family{
		{
			name: "kproxy_leader_hints_total", unit: "{response}", help: "Responses that say that another broker leads, by the node that was dialled, and whether they name that node itself.",
			ofListener: func(l *proxy.ListenerStats) []sample {
				var all []sample
				for _, c := range l.Routing {
					all = append(all, of(c.LeaderAnother, node(c.Node), attribute.String(labelLeader, "another")),
						of(c.LeaderItself, node(c.Node), attribute.String(labelLeader, "itself")))
				}
				return all
			},
		},
		{
			name: "kproxy_misrouted_total", unit: "{response}", help: "ApiVersions responses by which a broker says that it, or its cluster, is not the one that the client names.",
			ofListener: func(l *proxy.ListenerStats) []sample {
				var all []sample
				for _, c := range l.Routing {
					all = append(all, of(c.Misrouted, node(c.Node)))
				}
				return all
			},
		},
	}
}

func clusterMetrics() []family {
	return []family{
		{
			name: "kproxy_cluster_certificate_expiry_timestamp_seconds", unit: "s", help: "When a certificate ends that brokers are shown, or the last CA of the cluster's ca, in Unix time.", kind: gauge,
			ofCluster: func(c *proxy.ClusterStats) []sample { return expiry(c.TLS) },
		},
		{
			name: "kproxy_cluster_certificates_stale", unit: "1", help: "1 if the files of the cluster's tls are no good and those from before are used.", kind: gauge,
			ofCluster: func(c *proxy.ClusterStats) []sample { return stale(c.TLS) },
		},
		{
			name: "kproxy_cluster_up", unit: "1", help: "1 if the last sign of the cluster was a response, 0 if it was a failure, or none yet.", kind: gauge,
			ofCluster: func(c *proxy.ClusterStats) []sample {
				if c.Up {
					return []sample{of(1)}
				}
				return []sample{of(0)}
			},
		},
		{
			name: "kproxy_cluster_last_answer_timestamp_seconds", unit: "s", help: "When the cluster last gave a sign of life, in Unix time.", kind: gauge,
			ofCluster: func(c *proxy.ClusterStats) []sample {
				if c.LastAnswer.IsZero() {
					return nil
				}
				return []sample{of(c.LastAnswer.Unix())}
			},
		},
		{
			name: "kproxy_cluster_brokers", unit: "{broker}", help: "Brokers of the cluster that are known.", kind: gauge,
			ofCluster: func(c *proxy.ClusterStats) []sample { return []sample{of(int64(c.Brokers))} },
		},
		{
			name: "kproxy_dials_total", unit: "{dial}", help: "Attempts to reach a broker, by how they went.",
			ofCluster: func(c *proxy.ClusterStats) []sample {
				var all []sample
				for _, d := range c.Dials {
					all = append(all, of(d.Count, node(d.Node), attribute.String(labelOutcome, string(d.Outcome))))
				}
				return all
			},
		},
		{
			name: "kproxy_map_changes_total", unit: "{change}", help: "Changes of who is where.",
			ofCluster: func(c *proxy.ClusterStats) []sample {
				var all []sample
				for _, m := range c.MapChanges {
					all = append(all, of(m.Count, attribute.String(labelKind, m.Kind)))
				}
				return all
			},
		},
	}
}
