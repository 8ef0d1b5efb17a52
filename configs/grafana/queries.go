package main

import (
	"fmt"
	"strings"
)

// query is one expression of a panel, and the name of its series.
type query struct{ expr, legend string }

// The groups of reasons for which a session ends (kproxy_sessions_closed_total). A test holds that each reason is in
// exactly one group.
const (
	// ordinary ends need no one's attention: the client is done, or the session goes on at another place.
	ordinary = "no_request|client_closed|relearn|idle_timeout|broker_moved|max_age|disconnected|drained"
	// byClient is the client, or the network between it and kproxy.
	byClient = "client_reset|peer_gone|client_login|first_request_timeout|foreign_protocol|bad_request|bad_proxy_header|" +
		"tls_plaintext|tls_certificate_refused|tls_no_certificate|tls_certificate_untrusted|tls_certificate_expired|" +
		"tls_version|tls_unknown_sni|tls_no_sni|tls_timeout|tls_closed|tls_failed"
	// byBroker is the broker, or the network between it and kproxy.
	byBroker = "broker_closed|broker_reset|dial_failed|broker_refused_tls|broker_login|other_cluster"
	// byRule is a limit or a rule of the configuration.
	byRule = "not_allowed|too_many_connections|too_many_from_source|accept_rate|too_many_logins|tls_subject_refused|" +
		"api_refused|dial_refused|request_too_large"
	// byKproxy is kproxy: a frame that it cannot pass on, its memory, its patience, or its configuration.
	byKproxy = "unknown_api|unsupported_version|bad_answer|unexpected_answer|held_bytes|hold_timeout|loop|drain_timeout"
)

// failed matches the dials that were meant to succeed.
const failed = `outcome!~"ok|canceled"`

// reason matches sessions that ended for one of these reasons.
func reason(group string) string { return fmt.Sprintf("reason=~%q", group) }

// with returns a metric with its matchers.
func with(metric string, matchers ...string) string {
	if all := strings.Join(matchers, ", "); all != "" {
		return metric + "{" + all + "}"
	}
	return metric
}

// rate is the rate of a counter, by labels.
func rate(counter string, by ...string) string {
	return fmt.Sprintf("sum%s (rate(%s[$__rate_interval]))", grouped(by), counter)
}

// events is the number of events between two points, by labels, without zeroes. It is for counters of rare events: a
// series begins with its first event, and increase does not see that one, so a series that is new counts in full.
func events(counter string, by ...string) string {
	return fmt.Sprintf("sum%s (%s) > 0", grouped(by), since(counter, "$__rate_interval"))
}

// lately is the number of events of the last five minutes, in one series, which is 0 without any.
func lately(counter string) string {
	return fmt.Sprintf("sum(%s) or vector(0)", since(counter, "5m"))
}

func since(counter, interval string) string {
	return fmt.Sprintf("(%s unless %s offset %s) or increase(%s[%s])", counter, counter, interval, counter, interval)
}

// grouped returns the clause of an aggregation by labels.
func grouped(by []string) string {
	if len(by) == 0 {
		return ""
	}
	return " by (" + strings.Join(by, ", ") + ")"
}

// ofKproxy leaves of the metrics that every process has those of kproxy.
func ofKproxy(expr string) string { return expr + " and on (instance, job) kproxy_config_generation" }

// sides are the queries of who ends sessions, the ordinary ends left out.
func sides(matchers ...string) []query {
	var all []query
	for _, side := range []struct{ name, group string }{
		{"the client, or its network", byClient}, {"the broker, or its network", byBroker}, {"a rule", byRule}, {"kproxy", byKproxy},
	} {
		ended := with("kproxy_sessions_closed_total", append(matchers, reason(side.group))...)
		all = append(all, query{fmt.Sprintf("sum(%s) or vector(0)", since(ended, "$__rate_interval")), side.name})
	}
	return all
}
