//go:build e2e

package e2e

import (
	"context"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TestLeaderMovesUnderLoad tests for leaks: a broker that gets a request for a partition
// it no longer leads responds with the new leader's address, in Produce and Fetch alike
// (KIP-951), and the Java client connects to it. All three clients produce and consume
// while leaders move every 300 ms.
func TestLeaderMovesUnderLoad(t *testing.T) {
	const (
		partitions = 6
		interval   = 300 * time.Millisecond
	)
	duration := leaderMovesDuration(t)
	topic := shared.kafka.NewTopic(t, "moving", partitions)
	p := startKproxy(t, shared.kafka.byAddress())
	alice, bob, fred, many := p.Via("alice"), p.Via("bob"), p.Via("fred"), p.Via("many")
	java := shared.tools[len(shared.tools)-1]

	franz, kcat, javas := newSeen("franz-go"), newSeen("kcat"), newSeen("Java")
	readers := []*seen{franz, kcat, javas}
	startReader(t, many, franz, kgo.ConsumeTopics(topic), kgo.ConsumerGroup(topic+"-franz"))
	startToolReader(t, kcat, func(ctx context.Context) *exec.Cmd {
		return kcatCommand(ctx, fred, "-C", "-u", "-q", "-t", topic, "-o", "beginning", "-f", "%p@%o@%s\n")
	})
	startToolReader(t, javas, func(ctx context.Context) *exec.Cmd {
		return javaCommand(ctx, java, alice, consoleConsumer, "--topic", topic, "--from-beginning", "--group", topic+"-java",
			"--formatter-property", "print.partition=true", "--formatter-property", "print.offset=true",
			"--formatter-property", "key.separator=@")
	})
	byFranz := startLoad(t, many, topic, "franz", 200, 8<<10) // padded for latecomers
	byKcat := startToolLoad(t, "kcat", 200, func(ctx context.Context) *exec.Cmd {
		return kcatCommand(ctx, bob, append([]string{"-P", "-t", topic}, settings("acks=all", "enable.idempotence=true")...)...)
	})
	byJava := startToolLoad(t, "java", 200, func(ctx context.Context) *exec.Cmd {
		// By default, this tool gives up on a record after three retries and still ends with exit code 0.
		return javaCommand(ctx, java, alice, consoleProducer, "--topic", topic, "--message-send-max-retries", "1000000")
	})
	for _, r := range readers {
		r.WaitFor(t, 30*time.Second, 1)
	}

	moves := shared.kafka.MoveLeaders(t, topic, partitions, interval)
	latecomers := welcomeLatecomers(t, bob, topic, franz, duration)
	moved := moves.Stop()
	want := slices.Concat(byFranz.Stop(t), byKcat.Stop(t), byJava.Stop(t))

	for _, r := range readers {
		r.WaitForAll(t, time.Minute, topic, want)
		r.NoDuplicates(t)
		t.Logf("records: %d sent, %d read by %s", len(want), r.Total(), r.by)
	}
	if moved <= 20 {
		t.Errorf("leader changes: got %d, want more than 20", moved)
	}
	t.Logf("%d leader changes in %v, %d latecomers", moved, duration, latecomers)
}

// welcomeLatecomers starts one new consumer after another, which read the topic from its
// beginning, for the given time. Their responses are far larger than any buffer of
// kproxy's, and now and then one ends in the address of a leader that moved.
func welcomeLatecomers(t *testing.T, l listener, topic string, soFar *seen, duration time.Duration) (n int) {
	t.Helper()
	for end := time.Now().Add(duration); time.Now().Before(end); n++ {
		read := newSeen("a latecomer")
		r := startReader(t, l, read, kgo.ConsumeTopics(topic))
		read.WaitFor(t, 30*time.Second, soFar.Distinct())
		r.Leave()
	}
	return n
}

// leaderMovesDuration is E2E_LEADER_MOVES, such as 60s.
func leaderMovesDuration(t *testing.T) time.Duration {
	t.Helper()
	s := os.Getenv("E2E_LEADER_MOVES")
	if s == "" {
		return 20 * time.Second
	}
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		t.Fatalf("E2E_LEADER_MOVES: got %q, want a duration such as 60s", s)
	}
	return d
}
