package main

import (
	"slices"
	"strings"
	"testing"
)

// protected has each key that a change of the file may not remove by itself.
const protected = `clusters:
  orders:
    bootstrap: [broker-1:9092]
    brokers: ['*:9092']
    tls: {ca: ca.pem}
    sasl: {mechanism: PLAIN, username: u, password_file: p}
    listeners:
      fred:
        bind: 127.0.0.1:9092
        nodes: {ports: 9100}
        tls: {certs: [{cert: c, key: k}], client_ca: ca.pem, subjects: [CN=app]}
        allow: [10.0.0.0/8, 192.168.0.0/16]
        deny: [10.66.0.0/16, 10.67.0.0/16]
        login: {mechanisms: [PLAIN], users_file: users}
        apis: {preset: read-only, deny: [DeleteTopics, DeleteRecords], allow: [CreateTopics]}
        proxy_protocol: {from: [10.0.0.0/8], mode: optional}
        limits: {max_connections: 3, max_per_source: 2, accept_rate: 1}
admin: {bind: '127.0.0.1:9400', token_file: token, tls: {cert: c, key: k}}
`

func TestLostProtections(t *testing.T) {
	const fred = "clusters.orders.listeners.fred."
	before := keysOf(t, protected)
	for _, tt := range []struct{ text, now, want string }{
		{"", "", ""},
		{"    brokers: ['*:9092']\n", "", "clusters.orders.brokers"},
		{"    tls: {ca: ca.pem}\n", "", "clusters.orders.tls"},
		{"{ca: ca.pem}", "{}", "clusters.orders.tls.ca"},
		{"    sasl: {mechanism: PLAIN, username: u, password_file: p}\n", "", "clusters.orders.sasl"},
		{"        tls: {certs: [{cert: c, key: k}], client_ca: ca.pem, subjects: [CN=app]}\n", "", fred + "tls"},
		{", client_ca: ca.pem, subjects: [CN=app]", "", fred + "tls.client_ca " + fred + "tls.subjects"},
		{"        allow: [10.0.0.0/8, 192.168.0.0/16]\n", "", fred + "allow"},
		{"allow: [10.0.0.0/8, 192.168.0.0/16]", "allow: [10.0.0.0/8]", ""},
		{"        deny: [10.66.0.0/16, 10.67.0.0/16]\n", "", fred + "deny"},
		{"deny: [10.66.0.0/16, 10.67.0.0/16]", "deny: [10.66.0.0/16]", fred + "deny"},
		{"        login: {mechanisms: [PLAIN], users_file: users}\n", "", fred + "login"},
		{"apis: {preset: read-only, deny: [DeleteTopics, DeleteRecords], allow: [CreateTopics]}", "apis: {}", fred + "apis.preset " + fred + "apis.deny"},
		{", DeleteRecords", "", fred + "apis.deny"},
		{", allow: [CreateTopics]", "", ""},
		{"{from: [10.0.0.0/8], mode: optional}", "{}", fred + "proxy_protocol.from"},
		{"{max_connections: 3, max_per_source: 2, accept_rate: 1}", "{}", fred + "limits.max_connections " + fred + "limits.max_per_source " + fred + "limits.accept_rate"},
		{"max_connections: 3", "max_connections: 9", ""},
		{", token_file: token", "", "admin.token_file"},
		{", tls: {cert: c, key: k}}", "}", "admin.tls"},
		{"admin: {bind: '127.0.0.1:9400', token_file: token, tls: {cert: c, key: k}}", "", ""},
		{"      fred:", "      bob:", ""},
		{"  orders:", "  payments:", ""},
	} {
		if !strings.Contains(protected, tt.text) {
			t.Fatalf("there is no %s", tt.text)
		}
		after := keysOf(t, strings.Replace(protected, tt.text, tt.now, 1))
		if got := lostProtections(before, after); !slices.Equal(got, strings.Fields(tt.want)) {
			t.Errorf("without %s: got %q, want %s", tt.text, got, tt.want)
		}
	}
}

// keysOf returns the keys of a configuration.
func keysOf(t *testing.T, text string) *fileConfig {
	t.Helper()
	s, err := parseConfig("kproxy.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s.keys
}
