package main

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"kproxy/internal/logkey"
	"kproxy/proxy"
)

// ended logs the end of a session, as package proxy does.
func ended(log *slog.Logger, reason proxy.CloseReason, client string, node int, err error, fix string) {
	log.With(slog.String(logkey.Cluster, "cluster")).Warn("session closed",
		slog.String(logkey.Reason, string(reason)), slog.String(logkey.Client, client), slog.Int(logkey.Node, node),
		slog.Duration(logkey.Duration, time.Second), slog.Any(logkey.Error, err), slog.String(logkey.Fix, fix))
}

// A client that retries causes one line, and then one with a count.
func TestBriefLogCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got bytes.Buffer
		b := newBriefLog(&got)
		log := b.logger()
		const long = "ip-172-31-27-41.us-west-2.compute.internal"
		down := fmt.Errorf("dial node 1 (%s.vpc.invalid:9092): %w", long, &net.OpError{Op: "dial", Err: &net.DNSError{Name: long + ".vpc.invalid", Server: "127.0.0.1:53", Err: "no such host"}})
		for range 13 {
			ended(log, proxy.DialFailed, "127.0.0.1:40001", 1, down, "if the broker runs, add a dial rule")
			time.Sleep(700 * time.Millisecond) //nolint:forbidigo // the time of a bubble
		}
		ended(log, proxy.BrokerReset, "127.0.0.1:40002", 1, down, "")
		ended(log, proxy.DialFailed, "127.0.0.2:40002", 1, down, "")
		ended(log, proxy.DialFailed, "127.0.0.1:40002", 2, down, "")
		log.Info("not a warning")
		log.Warn("more sessions closed, as one before", slog.String(logkey.Reason, "dial_failed"), slog.String(logkey.Source, "127.0.0.1"),
			slog.Int(logkey.Connections, 4), slog.Duration(logkey.Duration, 10*time.Second))
		log.Error("no broker has said who the brokers are; trying on", slog.Any(logkey.Error, errors.New("b0: down\nb1: down")), slog.String(logkey.Fix, "look"))
		time.Sleep(briefInterval) //nolint:forbidigo // the time of a bubble
		synctest.Wait()
		ended(log, proxy.DialFailed, "127.0.0.1:40001", 1, down, "") // counted: the kind is still there
		b.close()
		const want = `kproxy: node 1, client 127.0.0.1: dial_failed: no such host: ip-172-31-27-41.us-west-2.compute.internal.vpc.invalid; if it runs, add --node 1=HOST:PORT
kproxy: node 1, client 127.0.0.1: broker_reset: no such host: ip-172-31-27-41.us-west-2.compute.internal.vpc.invalid
kproxy: node 1, client 127.0.0.2: dial_failed: no such host: ip-172-31-27-41.us-west-2.compute.internal.vpc.invalid; if it runs, add --node 1=HOST:PORT
kproxy: node 2, client 127.0.0.1: dial_failed: no such host: ip-172-31-27-41.us-west-2.compute.internal.vpc.invalid; if it runs, add --node 2=HOST:PORT
kproxy: client 127.0.0.1: dial_failed: 4 more times in 10s
kproxy: no broker has said who the brokers are; trying on: b0: down; b1: down; look
kproxy: node 1, client 127.0.0.1: dial_failed: 12 more times in 10s
kproxy: node 1, client 127.0.0.1: dial_failed: once more in 9s
`
		if got.String() != want {
			t.Errorf("got\n%swant\n%s", got.String(), want)
		}
	})
}

// Lines are short and printable, whatever peers put into errors, and their number is
// bounded, however many kinds of warnings there are.
func TestBriefLogIsBounded(t *testing.T) {
	var got bytes.Buffer
	b := newBriefLog(&got)
	log := b.logger()
	for node := range 1000 {
		ended(log, proxy.BrokerReset, "127.0.0.1:1", node, errors.New(hostile), "look at the network on the way: "+hostile)
	}
	b.close()
	wantTame(t, "the log", got.String())
	lines := strings.Split(strings.TrimSpace(got.String()), "\n")
	if len(lines) != maxBriefKinds+2 {
		t.Errorf("%d lines, want %d", len(lines), maxBriefKinds+2)
	}
	for _, line := range lines {
		if utf8.RuneCountInString(line) > maxBriefLine {
			t.Errorf("%d characters: %s", utf8.RuneCountInString(line), line)
		}
	}
	if !strings.Contains(lines[0], "; look at the network") || !strings.Contains(lines[len(lines)-2]+lines[len(lines)-1], "other warnings: 935 more times") {
		t.Errorf("got %s … %s", lines[0], lines[len(lines)-1])
	}
}
