package main

import (
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/units"
)

// of returns a metric of the cluster and the instances that the reader has chosen.
func of(metric string, matchers ...string) string {
	return with(metric, append([]string{`cluster="$cluster"`, `instance=~"$instance"`}, matchers...)...)
}

// ofListener returns a metric of the listeners, too.
func ofListener(metric string, matchers ...string) string {
	return of(metric, append([]string{`listener=~"$listener"`}, matchers...)...)
}

// cluster is about one cluster, by listener and by broker.
func cluster() *board {
	b := fresh("kproxy-cluster", "kproxy: a cluster", "One cluster behind kproxy, by listener and by broker. The first row answers: is it us?").
		WithVariable(choice("cluster", `label_values(kproxy_cluster_up, cluster)`, false)).
		WithVariable(choice("instance", `label_values(kproxy_cluster_up{cluster="$cluster"}, instance)`, true)).
		WithVariable(choice("listener", `label_values(kproxy_sessions_opened_total{cluster="$cluster", instance=~"$instance"}, listener)`, true)).
		Annotation(mark("Alerts", bad, `ALERTS{alertname=~"Kproxy.*", alertstate="firing", cluster="$cluster"}`, "{{alertname}}", "{{listener}} {{node}} {{instance}}")).
		Annotation(mark("Starts and reloads", "blue", `time() - kproxy_config_last_reload_timestamp_seconds{instance=~"$instance"} < 60`, "start or reload", "{{instance}}")).
		Annotation(mark("Hand-overs", "purple", `time() - kproxy_handover_timestamp_seconds{instance=~"$instance"} < 60`, "hand-over", "{{instance}}"))
	clusterIsItUs(b)
	clusterListeners(b)
	clusterBrokers(b)
	clusterRequests(b)
	clusterCertificates(b)
	return b
}

// quantile is a quantile of the time from a request's head at kproxy to its response's head.
func quantile(q string, by []string, matchers ...string) string {
	return `histogram_quantile(` + q + `, ` + rate(ofListener("kproxy_request_duration_seconds_bucket", matchers...), append(by, "le")...) + `)`
}

func clusterIsItUs(b *board) {
	up := of("kproxy_cluster_up")
	b.WithRow(dashboard.NewRowBuilder("Is it us?")).
		WithPanel(plain(figures("Cluster", "Does the cluster respond to every kproxy? If to none, it is Kafka or its network; if to some, it is the way from the others.",
			units.Short, steps(1, 1),
			query{`sum(` + up + `)`, "responds to"},
			query{`count(` + up + `) - sum(` + up + `)`, "not to"}), "responds to")).
		WithPanel(figures("Failed dials, 5 min", "Can kproxy reach the brokers? Below, by broker and reason.",
			units.Short, steps(1, 30),
			query{lately(of("kproxy_dials_total", failed)), "dials"})).
		WithPanel(figures("Ended by kproxy, 5 min", "Did kproxy itself end sessions? A frame that it could not pass on, a limit of memory or time, or a loop. The log has a fix for each.",
			units.Short, steps(1, 1),
			query{lately(ofListener("kproxy_sessions_closed_total", reason(byKproxy))), "sessions"})).
		WithPanel(figures("Refused by a rule, 5 min", "Does the configuration refuse clients? Connections at a limit or from another network, and requests that a listener's apis do not allow.",
			units.Short, steps(1, 1000),
			query{lately(ofListener("kproxy_sessions_closed_total", reason(byRule))), "sessions"},
			query{lately(ofListener("kproxy_requests_refused_total")), "requests"})).
		WithPanel(figures("Addresses dropped, 5 min", "Do clients get every broker's address? dropped: the broker has no endpoint at the listener, and clients do not see it.",
			units.Short, steps(1, 1),
			query{lately(ofListener("kproxy_addresses_total", `kind="dropped"`)), "dropped"})).
		WithPanel(figures("Produce, 99 %", "How long do most producers wait for Kafka and the way to it? From the request's head at kproxy to the response's head at kproxy.",
			units.Seconds, steps(0.5, 5),
			query{quantile("0.99", nil, `api="Produce"`), "within"})).
		WithPanel(lines("Who ends sessions", "Whose fault are the ends of sessions? Ordinary ends are left out: clients that are done, drains, moves.",
			units.Short, sides(`cluster="$cluster"`, `instance=~"$instance"`, `listener=~"$listener"`)...)).
		WithPanel(states("Cluster", "When did the cluster not respond, and to which kproxy?", [2]string{"no response", "responds"}, 1,
			query{`min by (instance) (` + up + `)`, "{{instance}}"}))
}

func clusterListeners(b *board) {
	bytes := func(matchers ...string) string {
		return rate(ofListener("kproxy_bytes_total", matchers...), "listener")
	}
	b.WithRow(dashboard.NewRowBuilder("Listeners")).
		WithPanel(lines("Client connections", "How many clients are connected to each listener?", units.Short,
			query{`sum by (listener) (` + ofListener("kproxy_sessions_active") + `)`, "{{listener}}"})).
		WithPanel(lines("New connections", "Do clients connect anew, all at once or again and again?", units.CountsPerSecond,
			query{rate(ofListener("kproxy_sessions_opened_total"), "listener"), "{{listener}}"})).
		WithPanel(lines("Bytes", "How much goes up to the brokers and down to the clients?", units.BytesPerSecondSI,
			query{rate(ofListener("kproxy_bytes_total"), "listener", "direction"), "{{listener}} {{direction}}"})).
		WithPanel(lines("Bytes that are copied", "Which share of the bytes misses the cheap path in the kernel? Small frames and TLS are always copied.", units.PercentUnit,
			query{bytes(`path="copy"`) + " / " + bytes(), "{{listener}}"})).
		WithPanel(lines("Frames", "How many requests go up, and how many responses come down?", units.CountsPerSecond,
			query{rate(ofListener("kproxy_frames_total"), "listener", "direction"), "{{listener}} {{direction}}"})).
		WithPanel(bars("Ends of sessions", "Why do sessions end, ordinary ends left out? Each reason has a line in the log, with a fix.",
			query{events(ofListener("kproxy_sessions_closed_total", `reason!~"`+ordinary+`"`), "listener", "reason"), "{{listener}} {{reason}}"}))
}

func clusterBrokers(b *board) {
	b.WithRow(dashboard.NewRowBuilder("Brokers")).
		WithPanel(lines("Client connections", "How many clients are connected to each broker? bootstrap: not yet to one that they chose.", units.Short,
			query{`sum by (node) (` + ofListener("kproxy_sessions_active") + `)`, "node {{node}}"})).
		WithPanel(bars("Ends of sessions", "At which broker do sessions end, ordinary ends left out?",
			query{events(ofListener("kproxy_sessions_closed_total", `reason!~"`+ordinary+`"`), "node", "reason"), "node {{node}} {{reason}}"})).
		WithPanel(bars("Failed dials", "Which broker cannot be reached, and why?",
			query{events(of("kproxy_dials_total", failed), "node", "outcome"), "node {{node}} {{outcome}}"})).
		WithPanel(lines("Dials", "How often does kproxy connect to each broker?", units.CountsPerSecond,
			query{rate(of("kproxy_dials_total", `outcome="ok"`), "node"), "node {{node}}"})).
		WithPanel(bars("Moves of brokers", "Do brokers move, come or go? Do responses contradict each other (contradicted), or is a range of ports too small (overflowed, evicted, unmapped)?",
			query{events(of("kproxy_map_changes_total"), "kind"), "{{kind}}"})).
		WithPanel(bars("Misrouted clients", "Does a balancer or a dial rule lead to another broker? Brokers refuse clients that name the broker they want; leader hints without end say it of others: itself behind kproxy, another in front of it.",
			query{events(ofListener("kproxy_misrouted_total"), "node"), "node {{node}} refused"},
			query{events(ofListener("kproxy_leader_hints_total"), "node", "leader"), "node {{node}} hints at {{leader}}"})).
		WithPanel(lines("Brokers", "Does every kproxy know the same brokers?", units.Short,
			query{`max by (instance) (` + of("kproxy_cluster_brokers") + `)`, "{{instance}}"})).
		WithPanel(lines("Last response", "How long ago did the cluster respond to kproxy's own question, or to the first request of a session? A cluster that clients do not use is asked seldom.", units.Seconds,
			query{`max by (instance) (time() - ` + of("kproxy_cluster_last_answer_timestamp_seconds") + `)`, "{{instance}}"}))
}

func clusterRequests(b *board) {
	const longPolls = "Fetch|ShareFetch|JoinGroup|SyncGroup"
	b.WithRow(dashboard.NewRowBuilder("Requests")).
		WithPanel(lines("Requests by listener", "How much does each listener's clients ask?", units.RequestsPerSecond,
			query{rate(ofListener("kproxy_requests_total"), "listener"), "{{listener}}"})).
		WithPanel(lines("Requests by API", "What do clients ask? Many Metadata or ApiVersions mean clients that connect again and again.", units.RequestsPerSecond,
			query{`topk(12, ` + rate(ofListener("kproxy_requests_total"), "api") + `)`, "{{api}}"})).
		WithPanel(lines("Produce", "How long does a Produce take, from kproxy on?", units.Seconds,
			query{quantile("0.5", []string{"listener"}, `api="Produce"`), "{{listener}} 50 %"},
			query{quantile("0.99", []string{"listener"}, `api="Produce"`), "{{listener}} 99 %"})).
		WithPanel(lines("Other requests, 99 %", "How long do requests take that Kafka responds to at once? Those that wait for records or for a group are left out.", units.Seconds,
			query{`topk(12, ` + quantile("0.99", []string{"api"}, `api!~"Produce|`+longPolls+`"`) + `)`, "{{api}}"})).
		WithPanel(lines("Requests that wait, 50 %", "How long do requests wait for records or for a group? A Fetch without records takes the consumer's fetch.max.wait.ms.", units.Seconds,
			query{quantile("0.5", []string{"api"}, `api=~"`+longPolls+`"`), "{{api}}"})).
		WithPanel(lines("Versions", "Which versions of the protocol do clients speak, of the APIs that tell clients apart?", units.RequestsPerSecond,
			query{rate(ofListener("kproxy_requests_total", `api=~"ApiVersions|Produce|Fetch"`), "api", "version"), "{{api}} {{version}}"})).
		WithPanel(bars("Refused requests", "Which requests do the listener's apis refuse?",
			query{events(ofListener("kproxy_requests_refused_total"), "listener", "api"), "{{listener}} {{api}}"})).
		WithPanel(lines("Addresses in responses", "Does every address reach clients as kproxy's? dropped: without an endpoint. neutralised: a leader hint that did not fit.", units.CountsPerSecond,
			query{rate(ofListener("kproxy_addresses_total"), "kind"), "{{kind}}"})).
		WithPanel(lines("Newer than this kproxy", "Are brokers or clients newer than kproxy, so that it hides APIs or transactions would fail? Then upgrade kproxy.", units.CountsPerSecond,
			query{rate(ofListener("kproxy_apis_hidden_total")) + ` or vector(0)`, "APIs hidden"},
			query{rate(ofListener("kproxy_transactions_lowered_total")), "Produce lowered"}).Span(listWidth))
}

func clusterCertificates(b *board) {
	const expiry = `{__name__=~"kproxy_(listener|cluster)_certificate_expiry_timestamp_seconds", cluster="$cluster", instance=~"$instance"}`
	b.WithRow(dashboard.NewRowBuilder("Certificates")).
		WithPanel(list("Certificates", "Which certificate expires next? Those with a listener are for clients, those without one for brokers.",
			column{`sort(min by (listener, file) (` + expiry + `) - time())`, "expires in", units.DurationSeconds}))
}
