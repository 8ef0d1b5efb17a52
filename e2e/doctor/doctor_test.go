//go:build e2e

// Package doctor plants faults between a client and a Kafka cluster, and has kproxy doctor
// name each of them and its fix.
//
// One cluster of three brokers has a listener for most of the faults. A name that does not
// resolve, a filtered port or an expired certificate is a listener's advertised address, a
// rule of the firewall or a listener's keystore. A server that is no broker is a real one
// (sshd, HAProxy, ZooKeeper, net/http) or sends the bytes of a real one. Doctor is run as
// a user runs it: the binary, in a network namespace that reaches the servers as a client
// on the Internet does.
//
//	site_test.go      the two networks, the names, the firewall
//	kafka_test.go     the cluster, its listeners and certificates
//	servers_test.go   servers that are no brokers; bastion_test.go: sshd
//	run_test.go       runs doctor and compares its output with testdata/NAME.golden
//	*_faults_test.go  the faults
//	mend_test.go      pastes fixes, and runs doctor again
//
// Each fault states words that the output must have and words that it must not have. The
// golden text holds the rest. An intended change of a verdict or a fix is accepted with
// -update, which still checks the words.
//
//	KPROXY_BINARY=FILE   tests this binary instead of building one
//	E2E_DIR=DIR          keeps all files, and the output as it was, in there
package doctor

import (
	"strings"
	"testing"
)

func TestDoctor(t *testing.T) {
	s := newSite(t)
	s.startServers(t)
	s.startKafka(t)
	s.writeClients(t)
	all := [][]fault{sound, ports, advertised, certificates, logins, clientFiles, bastions, arguments}
	t.Run("faults", func(t *testing.T) {
		for _, some := range all {
			for _, f := range some {
				t.Run(f.name, func(t *testing.T) {
					t.Parallel()
					s.examine(t, f)
				})
			}
		}
	})
	t.Run("mended", s.mend)
	third := s.kafka.Broker(brokers)
	t.Run("broker hangs", func(t *testing.T) {
		check(t, third.Pause())
		s.forget(t, third.ID)
		for _, f := range hung {
			t.Run(f.name, func(t *testing.T) { s.examine(t, f) })
		}
	})
	t.Run("broker lost", func(t *testing.T) {
		check(t, third.Kill())
		s.forget(t, third.ID)
		for _, f := range lost {
			t.Run(f.name, func(t *testing.T) { s.examine(t, f) })
		}
	})
}

// TestNames refuses two faults with one name: they would share a golden text.
func TestNames(t *testing.T) {
	seen := map[string]bool{}
	for _, some := range [][]fault{sound, ports, advertised, certificates, logins, clientFiles, bastions, arguments, hung, lost} {
		for _, f := range some {
			if seen[f.name] || strings.ContainsAny(f.name, "/ ") {
				t.Errorf("%s: want a name that is used once and is a file's", f.name)
			}
			seen[f.name] = true
		}
	}
	if len(seen) < 45 {
		t.Errorf("got %d faults, want 45 or more", len(seen))
	}
}
