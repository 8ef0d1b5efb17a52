package main

import (
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/units"
)

// fleet is about every kproxy that the Prometheus scrapes.
func fleet() *board {
	b := fresh("kproxy-fleet", "kproxy: the fleet", "Every kproxy that this Prometheus scrapes. The first row answers: is it us?").
		Annotation(mark("Alerts", bad, `ALERTS{alertname=~"Kproxy.*", alertstate="firing"}`, "{{alertname}}", "{{cluster}} {{instance}}")).
		Annotation(mark("Starts and reloads", "blue", `time() - kproxy_config_last_reload_timestamp_seconds < 60`, "start or reload", "{{instance}}")).
		Annotation(mark("Hand-overs", "purple", `time() - kproxy_handover_timestamp_seconds < 60`, "hand-over", "{{instance}}"))
	fleetIsItUs(b)
	fleetTraffic(b)
	fleetEvents(b)
	fleetInstances(b)
	fleetLimits(b)
	fleetCertificates(b)
	return b
}

func fleetIsItUs(b *board) {
	ended, refused := "kproxy_sessions_closed_total", "kproxy_requests_refused_total"
	b.WithRow(dashboard.NewRowBuilder("Is it us?")).
		WithPanel(plain(figures("Instances", "Are all kproxy there? An instance that was scraped within the last hour and is not now has stopped, cannot be scraped, or has another name.",
			units.Short, steps(1, 1),
			query{`count(kproxy_config_generation) or vector(0)`, "scraped"},
			query{`count(last_over_time(kproxy_config_generation[1h]) unless on (instance, job) kproxy_config_generation) or vector(0)`, "gone"}), "scraped")).
		WithPanel(figures("Clusters without a response", "Is it Kafka? A cluster that responds to no kproxy is down, or its network is. One that responds to some kproxy and not to others is not reached from those.",
			units.Short, steps(1, 1),
			query{`count(max by (cluster) (kproxy_cluster_up) == 0) or vector(0)`, "to any kproxy"},
			query{`count(min by (cluster) (kproxy_cluster_up) == 0) or vector(0)`, "to some kproxy"})).
		WithPanel(figures("Failed dials, 5 min", "Can kproxy reach the brokers? Below, the reasons: a broker, the network, a log-in or a rule.",
			units.Short, steps(1, 30),
			query{lately(with("kproxy_dials_total", failed)), "dials"})).
		WithPanel(figures("Ended by kproxy, 5 min", "Did kproxy itself end sessions? A frame that it could not pass on, a limit of memory or time, or a loop. The log has a fix for each.",
			units.Short, steps(1, 1),
			query{lately(with(ended, reason(byKproxy))), "sessions"})).
		WithPanel(figures("Refused by a rule, 5 min", "Does the configuration refuse clients? Connections at a limit or from another network, and requests that a listener's apis do not allow.",
			units.Short, steps(1, 1000),
			query{lately(with(ended, reason(byRule))), "sessions"},
			query{lately(refused), "requests"})).
		WithPanel(figures("Nearest limit", "Does a kproxy run out of something? The highest share of its limit, of all instances.",
			units.PercentUnit, steps(0.6, 0.8),
			query{`max(kproxy_held_bytes / kproxy_held_bytes_limit)`, "held bytes"},
			query{`max(` + ofKproxy(`process_open_fds / process_max_fds`) + `)`, "open files"})).
		WithPanel(lines("Who ends sessions", "Whose fault are the ends of sessions? Ordinary ends are left out: clients that are done, drains, moves.",
			units.Short, sides()...)).
		WithPanel(states("Clusters", "When did a cluster not respond to some kproxy?", [2]string{"no response", "responds"}, 1,
			query{`min by (cluster) (kproxy_cluster_up)`, "{{cluster}}"}))
}

func fleetTraffic(b *board) {
	b.WithRow(dashboard.NewRowBuilder("Traffic")).
		WithPanel(lines("Client connections", "How many clients are connected, and to which cluster?", units.Short,
			query{`sum by (cluster) (kproxy_sessions_active)`, "{{cluster}}"})).
		WithPanel(lines("New connections", "Do clients connect anew, all at once or again and again?", units.CountsPerSecond,
			query{rate("kproxy_sessions_opened_total", "cluster"), "{{cluster}}"})).
		WithPanel(lines("Bytes", "How much goes through, and on the cheap path? splice is in the kernel, copy through kproxy's memory.", units.BytesPerSecondSI,
			query{rate("kproxy_bytes_total", "direction", "path"), "{{direction}} {{path}}"})).
		WithPanel(lines("Requests", "How much do clients ask, and of which cluster?", units.RequestsPerSecond,
			query{rate("kproxy_requests_total", "cluster"), "{{cluster}}"}))
}

func fleetEvents(b *board) {
	b.WithRow(dashboard.NewRowBuilder("Ends, refusals, failures, moves")).
		WithPanel(bars("Ends of sessions", "Why do sessions end, ordinary ends left out? Each reason has a line in the log, with a fix.",
			query{events(`kproxy_sessions_closed_total{reason!~"`+ordinary+`"}`, "cluster", "reason"), "{{cluster}} {{reason}}"})).
		WithPanel(bars("Failed dials", "Why can brokers not be reached?",
			query{events(with("kproxy_dials_total", failed), "cluster", "outcome"), "{{cluster}} {{outcome}}"})).
		WithPanel(bars("Refused requests", "Which requests do the listeners' apis refuse?",
			query{events("kproxy_requests_refused_total", "cluster", "listener", "api"), "{{cluster}}/{{listener}} {{api}}"})).
		WithPanel(bars("Moves of brokers", "Do brokers move, come or go? Do responses contradict each other (contradicted), or is a range of ports too small (overflowed, evicted, unmapped)?",
			query{events("kproxy_map_changes_total", "cluster", "kind"), "{{cluster}} {{kind}}"}))
}

func fleetInstances(b *board) {
	newest := func(metric string) string { return `max by (instance) (` + metric + `)` }
	// The list has the version as a label of the connections: it is no value.
	connections := `max by (instance, service_version) (` + ofKproxy(`target_info`) + `) * 0 + on (instance) group_left () sum by (instance) (kproxy_sessions_active)`
	b.WithRow(dashboard.NewRowBuilder("Instances")).
		WithPanel(list("Instances", "Which version and which configuration does each kproxy run, since when, and did its last reload and hand-over succeed?",
			column{connections, "connections", units.Short},
			column{newest(`kproxy_config_generation`), "generation", units.NoUnit},
			column{newest(`kproxy_config_last_reload_timestamp_seconds`) + ` * 1000`, "read", units.DateTimeFromNow},
			column{`min by (instance) (kproxy_config_last_reload_success)`, "in use", units.NoUnit},
			column{newest(`kproxy_handover_timestamp_seconds`) + ` * 1000`, "handed over", units.DateTimeFromNow},
			column{newest(`kproxy_handover_predecessor_end_timestamp_seconds`) + ` * 1000`, "predecessor ended", units.DateTimeFromNow})).
		WithPanel(lines("Versions", "Which versions run, and how far is a rollout?", units.Short,
			query{`count by (service_version) (` + ofKproxy(`target_info`) + `)`, "{{service_version}}"})).
		WithPanel(lines("Configuration", "Which instances have applied a change? The generation is 1 at the start, and one more for each change.", units.NoUnit,
			query{newest(`kproxy_config_generation`), "{{instance}}"})).
		WithPanel(states("Reloads", "Is the configuration that was read last in use? If it had a mistake, kproxy keeps the one before.", [2]string{"failed", "in use"}, 1,
			query{`min by (instance) (kproxy_config_last_reload_success)`, "{{instance}}"})).
		WithPanel(bars("Reloads by outcome", "How often was the configuration read, and did it wait for an operator (held_back) or have a mistake (refused)?",
			query{events("kproxy_config_reloads_total", "outcome"), "{{outcome}}"})).
		WithPanel(lines("Hand-overs", "Has the old process ended after a hand-over, and did a hand-over fail?", units.Short,
			query{newest(`kproxy_handover_predecessor_sessions`), "{{instance}} sessions of the predecessor"},
			query{`sum by (instance) (increase(kproxy_handover_failures_total[$__rate_interval]))`, "{{instance}} failed"}).Span(listWidth))
}

func fleetLimits(b *board) {
	b.WithRow(dashboard.NewRowBuilder("Limits and cost")).
		WithPanel(lines("Held bytes", "Do frames that kproxy has to hold whole come near their limit? At the limit, sessions end as held_bytes.", units.BytesIEC,
			query{`sum by (instance) (kproxy_held_bytes)`, "{{instance}}"},
			query{`min(kproxy_held_bytes_limit)`, "the lowest limit"})).
		WithPanel(lines("Open files", "Do connections come near the limit of open files? At 100 %, kproxy accepts no more.", units.PercentUnit,
			query{`max by (instance) (` + ofKproxy(`process_open_fds / process_max_fds`) + `)`, "{{instance}}"})).
		WithPanel(lines("Waiting connections", "Do connections wait for a handshake or a first request, as in a herd or a flood? At 1,024, a listener pauses.", units.Short,
			query{`sum by (instance) (kproxy_sessions_waiting)`, "{{instance}} waiting"},
			query{`sum by (instance) (increase(kproxy_accept_pauses_total[$__rate_interval]))`, "{{instance}} pauses"})).
		WithPanel(lines("Copied in place of spliced", "Why is the cheap path not taken? Misses: no kernel pipe was free, or the connection does not splice. Hidden: another program has the sockets. Refused: the system does not splice.", units.CountsPerSecond,
			query{rate("kproxy_splice_misses_total", "cluster", "direction"), "{{cluster}} {{direction}} misses"},
			query{rate("kproxy_splice_hidden_total", "instance"), "{{instance}} hidden"},
			query{rate("kproxy_splice_refused_total", "instance"), "{{instance}} refused"})).
		WithPanel(lines("Memory", "How much memory does each kproxy take?", units.BytesIEC,
			query{`max by (instance) (` + ofKproxy(`process_resident_memory_bytes`) + `)`, "{{instance}}"})).
		WithPanel(lines("Processor", "How many cores does each kproxy use?", units.Short,
			query{`sum by (instance) (` + ofKproxy(`rate(process_cpu_seconds_total[$__rate_interval])`) + `)`, "{{instance}}"}))
}

func fleetCertificates(b *board) {
	b.WithRow(dashboard.NewRowBuilder("Certificates")).
		WithPanel(list("Certificates", "Which certificate expires next? The first in the list; kproxy takes a new file without a restart.",
			column{`sort(min by (cluster, listener, file) ({__name__=~"kproxy_(listener|cluster)_certificate_expiry_timestamp_seconds"}) - time())`, "expires in", units.DurationSeconds})).
		WithPanel(states("Certificates and users", "Are the files on disk in use? If a file is not valid, its content from before is used: a certificate that expires one day, users who should be gone.", [2]string{"in use", "not valid"}, 0,
			query{`max by (cluster, listener) ({__name__=~"kproxy_(listener|cluster)_certificates_stale|kproxy_listener_users_stale"})`, "{{cluster}} {{listener}}"}).Span(listWidth))
}
