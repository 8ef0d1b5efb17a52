package hostport_test

import (
	"testing"

	"kproxy/internal/hostport"
)

func TestParse(t *testing.T) {
	tests := []struct {
		address string
		host    string
		port    int32
		err     string
	}{
		{address: "127.0.0.1:9092", host: "127.0.0.1", port: 9092},
		{address: "b0.internal:1", host: "b0.internal", port: 1},
		{address: "kafka_1:65535", host: "kafka_1", port: 65535},
		{address: "b0.internal.:9092", host: "b0.internal.", port: 9092},
		{address: "3com.example:9092", host: "3com.example", port: 9092},
		{address: ":9092", host: "", port: 9092},
		{address: "[::1]:9092", host: "::1", port: 9092},
		{address: "[fe80::1%eth0]:9092", host: "fe80::1%eth0", port: 9092},

		{address: "", err: `the address is empty; write host:port, such as 127.0.0.1:9092`},
		{address: "localhost", err: `"localhost" has no port; add one, such as localhost:9092`},
		{address: "[::1]", err: `"[::1]" has no port; add one, such as [::1]:9092`},
		{address: "::1", err: `"::1" has more than one colon; write an IPv6 address in brackets, such as [::1]:9092`},
		{address: "::1:9092", err: `"::1:9092" has more than one colon; write an IPv6 address in brackets, such as [::1]:9092`},
		{address: "b0:9092,b1:9092", err: `"b0:9092,b1:9092" holds a comma; write one address alone, such as 127.0.0.1:9092, and others as items of their own`},
		{address: "[::1:9092", err: `"[::1:9092" is not host:port; write host:port, such as 127.0.0.1:9092 or [::1]:9092`},
		{address: "[b0:9092", err: `"[b0:9092" is not host:port; write host:port, such as 127.0.0.1:9092 or [::1]:9092`},
		{address: "PLAINTEXT://b0:9092", err: `"PLAINTEXT://b0:9092" starts with PLAINTEXT://; write only b0:9092`},
		{address: "u:SECRET@b0:9092", err: `"…@b0:9092" has a user in front of its host; write host:port alone; a user and a password have keys of their own`},
		{address: "SASL_SSL://u:SE@CRET@b0", err: `"SASL_SSL://…@b0" has a user in front of its host; write host:port alone; a user and a password have keys of their own`},
		{address: "b0:", err: `"b0:" has the port ""; write a port of 1-65535, such as b0:9092`},
		{address: "b0:0", err: `"b0:0" has the port "0"; write a port of 1-65535, such as b0:9092`},
		{address: "b0:65536", err: `"b0:65536" has the port "65536"; write a port of 1-65535, such as b0:9092`},
		{address: "b0:-1", err: `"b0:-1" has the port "-1"; write a port of 1-65535, such as b0:9092`},
		{address: "b0:+1", err: `"b0:+1" has the port "+1"; write a port of 1-65535, such as b0:9092`},
		{address: "b0:kafka", err: `"b0:kafka" has the port "kafka"; write a port of 1-65535, such as b0:9092`},
		{address: "127.0.1.256:9092", err: `"127.0.1.256:9092" has the host "127.0.1.256", which is neither an IP address nor a host name; write host:port, such as 127.0.0.1:9092`},
		{address: "b 0:9092", err: `"b 0:9092" has the host "b 0", which is neither an IP address nor a host name; write host:port, such as 127.0.0.1:9092`},
		{address: "a..b:9092", err: `"a..b:9092" has the host "a..b", which is neither an IP address nor a host name; write host:port, such as 127.0.0.1:9092`},
		{address: "*:9092", err: `"*:9092" has the host "*", which is neither an IP address nor a host name; write host:port, such as 127.0.0.1:9092`},
	}
	for _, tt := range tests {
		t.Run(tt.address, func(t *testing.T) {
			host, port, err := hostport.Parse(tt.address)
			if got := text(err); got != tt.err {
				t.Fatalf("error:\n got %s\nwant %s", got, tt.err)
			}
			if host != tt.host || port != tt.port {
				t.Errorf("got %q, %d; want %q, %d", host, port, tt.host, tt.port)
			}
			if err == nil && hostport.Join(host, port) != tt.address {
				t.Errorf("Join gives %q back", hostport.Join(host, port))
			}
		})
	}
}

func TestWildcardAndCanonical(t *testing.T) {
	tests := []struct {
		host      string
		wildcard  bool
		canonical string
		bound     string // "": as canonical, unless it is a wildcard
	}{
		{host: "", wildcard: true},
		{host: "0.0.0.0", wildcard: true, canonical: "0.0.0.0", bound: "0.0.0.0"},
		{host: "::", wildcard: true, canonical: "::"},
		{host: "[::]", wildcard: true, canonical: "::"},
		{host: "0:0:0:0:0:0:0:0", wildcard: true, canonical: "::"},
		{host: "::ffff:0.0.0.0", wildcard: true, canonical: "0.0.0.0", bound: "0.0.0.0"},
		{host: "::%eth0", wildcard: true, canonical: "::%eth0"},
		{host: "127.0.0.1", canonical: "127.0.0.1"},
		{host: "127.0.0.1.", canonical: "127.0.0.1"},
		{host: "::ffff:127.0.0.1", canonical: "127.0.0.1"},
		{host: "0:0:0:0:0:0:0:1", canonical: "::1"},
		{host: "[::1]", canonical: "::1"},
		{host: "[FE80::1]", canonical: "fe80::1"},
		{host: "localhost", canonical: "localhost", bound: "127.0.0.1"},
		{host: "LocalHost.", canonical: "localhost", bound: "127.0.0.1"},
		{host: "Kafka.Example.com.", canonical: "kafka.example.com"},
		{host: "\u212aafka.example.com", canonical: "\u212aafka.example.com"}, // the Kelvin sign is not a K
	}
	for _, tt := range tests {
		if got := hostport.IsWildcard(tt.host); got != tt.wildcard {
			t.Errorf("IsWildcard(%q) = %v, want %v", tt.host, got, tt.wildcard)
		}
		if got := hostport.Canonical(tt.host); got != tt.canonical || hostport.Canonical(got) != got {
			t.Errorf("Canonical(%q) = %q, want %q", tt.host, got, tt.canonical)
		}
		bound := tt.bound
		if bound == "" && !tt.wildcard {
			bound = tt.canonical
		}
		if got := hostport.Bound(tt.host); got != bound {
			t.Errorf("Bound(%q) = %q, want %q", tt.host, got, bound)
		}
	}
}

// Addresses, and globs of them.
func TestCanonicalAddress(t *testing.T) {
	for address, want := range map[string]string{
		"B1.Kafka.Example.com.:9092": "b1.kafka.example.com:9092",
		"[0:0:0:0:0:0:0:1]:9092":     "[::1]:9092",
		"[::ffff:10.0.0.1]:9092":     "10.0.0.1:9092",
		"10.0.0.1:9092":              "10.0.0.1:9092",
		"B*.Internal.:*":             "b*.internal:*",
		"*.internal.:90*":            "*.internal:90*",
		"[0:0:0:0:0:0:0:1]:*":        "[::1]:*",
		"[FD00::*]:*":                "[fd00::*]:*",
		"*":                          "*",
		"FD00:*":                     "fd00:*",
		"::1":                        "::1",
		"[::1]":                      "[::1]",
		"":                           "",
	} {
		if got := hostport.CanonicalAddress(address); got != want || hostport.CanonicalAddress(got) != got {
			t.Errorf("CanonicalAddress(%q) = %q, want %q", address, got, want)
		}
	}
}

// Brokers advertise an IPv6 address in brackets, too.
func TestJoinBracketsOnce(t *testing.T) {
	for _, host := range []string{"::1", "[::1]"} {
		if got := hostport.Join(host, 9092); got != "[::1]:9092" {
			t.Errorf("Join(%q, 9092) = %q", host, got)
		}
	}
}

// FuzzParse checks the round trip: Parse accepts the output of Join and returns the same
// host and port.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"127.0.0.1:9092", "[::1]:9092", ":1", "b0.internal:65535", "[fe80::1%e]:1", "::1:9092", "a://b:1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, address string) {
		host, port, err := hostport.Parse(address)
		if err != nil {
			return
		}
		again, port2, err := hostport.Parse(hostport.Join(host, port))
		if err != nil || again != host || port2 != port {
			t.Errorf("Parse(%q) = %q, %d; joined and parsed again: %q, %d, %v", address, host, port, again, port2, err)
		}
	})
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestIsLoopback(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "LOCALHOST.": true, "[::1]": true, "::ffff:127.0.0.1": true, "127.0.0.1": true, "127.9.9.9": true, "::1": true,
		"": false, "0.0.0.0": false, "::": false, "10.0.0.1": false, "localhost.example.com": false, "128.0.0.1": false,
	} {
		if got := hostport.IsLoopback(host); got != want {
			t.Errorf("%q: got %t, want %t", host, got, want)
		}
	}
}
