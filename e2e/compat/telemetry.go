//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/e2e/lab"
)

// telemetrySince is the first release that takes clients' metrics (KIP-714).
const telemetrySince = "3.7"

// withTelemetry adds a receiver to a release's brokers.
func (b *build) withTelemetry(ctx context.Context, release lab.Release) (lab.Release, error) {
	if !release.AtLeast(telemetrySince) {
		return release, nil
	}
	dir := filepath.Join(b.dir, "receiver-"+release.Version)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return release, err
	}
	err := explain(lab.Output(lab.Command(ctx, "javac", "-nowarn", "-Xlint:none", "-cp", release.Classpath, "-d", dir,
		filepath.Join(b.source, "..", "broker", "TelemetryReceiver.java"))))
	release.Classpath = dir + ":" + release.Classpath
	return release, err
}

// telemetryFile is where a release's brokers note the pushes.
func telemetryFile(b *build, version string) string {
	return filepath.Join(b.dir, "telemetry-"+version+".txt")
}

// telemetryPush runs the clients that push metrics, and looks for their pushes. Nothing
// else runs meanwhile, so all pushes are theirs.
func telemetryPush(ctx context.Context, r *releaseRun) error {
	if err := subscribe(ctx, r.cluster, "*"); err != nil {
		return err
	}
	var errs []error
	for _, c := range r.clients {
		if !strings.HasPrefix(c.name, "java") && c.name != "confluent-kafka" && c.name != "franz" {
			continue
		}
		direct, proxied := r.trials(&cell{client: c, work: &work{name: "telemetry"}})
		var pushed [2]int
		for i, t := range []*trial{direct, proxied} {
			n, err := r.pushes(ctx, t)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", t.name, err))
			}
			pushed[i] = n
		}
		if pushed[1] == 0 && pushed[0] > 0 {
			errs = append(errs, fmt.Errorf("%s: %d pushes directly, none through kproxy", c.name, pushed[0]))
		}
		r.note("%s: %d pushes directly, %d through kproxy", c.name, pushed[0], pushed[1])
	}
	// No client pushes in the works that follow.
	return errors.Join(append(errs, subscribe(ctx, r.cluster, ""))...)
}

// pushes is how many pushes a client makes in some seconds of work.
func (r *releaseRun) pushes(ctx context.Context, t *trial) (int, error) {
	before, err := r.countPushes()
	if err != nil {
		return 0, err
	}
	if err := t.newTopic(ctx, 1, nil); err != nil {
		return 0, err
	}
	if _, err := t.run(ctx, "session", append(t.on(), "--group", t.name, "--prefix", t.name, "--duration", "6")...); err != nil {
		return 0, err
	}
	after, err := r.countPushes()
	return after - before, err
}

func (r *releaseRun) countPushes() (int, error) {
	content, err := os.ReadFile(telemetryFile(r.build, r.cluster.Release.Version))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	return strings.Count(string(content), "\n"), err
}

// subscribe asks clients for metrics, by their prefix; "" ends the subscription.
func subscribe(ctx context.Context, c *lab.Cluster, metrics string) error {
	interval := "1000"
	values := map[string]*string{"metrics": &metrics, "interval.ms": &interval}
	if metrics == "" {
		values = map[string]*string{"metrics": nil, "interval.ms": nil}
	}
	return c.AlterConfigs(ctx, kmsg.ConfigResourceTypeClientMetrics, "kproxy", values)
}
