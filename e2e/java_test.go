//go:build e2e

package e2e

import (
	"io"
	"slices"
	"strings"
	"testing"
)

// TestJavaTools is the story with Kafka's own tools, and so with the Java client: the
// strictest reader of rewritten responses.
func TestJavaTools(t *testing.T) {
	p := startKproxy(t, shared.kafka.byAddress())
	bob, fred, alice := p.Via("bob"), p.Via("fred"), p.Via("alice")
	for _, client := range shared.tools {
		t.Run("client "+client.version, func(t *testing.T) {
			topic := shared.kafka.topicName("java")
			run := func(l listener, stdin io.Reader, class string, args ...string) output {
				t.Helper()
				return javaTool(t, client, l, stdin, class, args...)
			}

			run(alice, nil, topicCommand, "--create", "--topic", topic, "--partitions", "6", "--replication-factor", "3")
			if err := shared.kafka.WaitWhole(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := run(fred, nil, topicCommand, "--list").Lines(); !slices.Contains(got, topic) {
				t.Errorf("topics: got %v, want %s among them", got, topic)
			}
			described := run(bob, nil, topicCommand, "--describe", "--topic", topic).stdout
			if got, want := strings.Count(described, "Leader: "), 6; got != want {
				t.Errorf("partitions described: got %d, want %d\n%s", got, want, described)
			}

			want := values(topic, 1000)
			run(fred, lines(want), consoleProducer, "--topic", topic)

			for _, protocol := range []string{"classic", "consumer"} {
				got := run(alice, nil, consoleConsumer, "--topic", topic, "--from-beginning",
					"--group", topic+"-"+protocol, "--command-property", "group.protocol="+protocol,
					"--max-messages", "1000", "--timeout-ms", "60000").Lines()
				slices.Sort(got)
				if !slices.Equal(got, want) {
					t.Errorf("records read, group protocol %s: got %d, want %d, the same", protocol, len(got), len(want))
				}
			}
		})
	}
}
