//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"kproxy/e2e/lab"
)

// shared is shared by the tests of one run: starting it takes longer than most of them.
var shared environment

// environment is one cluster and one build of kproxy.
type environment struct {
	dir    string // of all files of the run
	kafka  *cluster
	kproxy string // the binary
	kcat   string
	java   lab.Java
	tools  []javaClient
	ports  *lab.Ports
}

func TestMain(m *testing.M) {
	os.Exit(run(m)) //nolint:forbidigo // this is main
}

// run exists for its deferred calls, which os.Exit would not make.
func run(m *testing.M) int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	defer shared.stop()
	if err := shared.start(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	return m.Run()
}

func (e *environment) start(ctx context.Context) error {
	var err error
	if e.dir, err = os.MkdirTemp(os.Getenv("E2E_DIR"), "kproxy-e2e-"); err != nil {
		return err
	}
	if e.kcat, err = lab.Tool("kcat", "the librdkafka client (Debian: apt-get install kcat)"); err != nil {
		return err
	}
	if e.java, err = lab.NewJava(e.dir); err != nil {
		return err
	}
	release, err := lab.NewRelease(ctx, lab.Newest)
	if err != nil {
		return err
	}
	if e.tools, err = newJavaClients(ctx, release); err != nil {
		return err
	}
	if e.kproxy, err = lab.BuildKproxy(ctx, e.dir); err != nil {
		return err
	}
	e.ports = lab.NewPorts()
	began := time.Now()
	e.kafka, err = startCluster(ctx, filepath.Join(e.dir, "kafka"), e.java, release, e.ports)
	if err != nil {
		return fmt.Errorf("start Kafka: %w\n%s", err, e.kafka.Complaints())
	}
	fmt.Fprintf(os.Stderr, "e2e: %d brokers in %v\n", brokerCount, time.Since(began).Round(time.Millisecond))
	return nil
}

// stop undoes start, however far that got.
func (e *environment) stop() {
	if e.kafka != nil {
		e.kafka.Close()
	}
	if os.Getenv("E2E_DIR") == "" {
		os.RemoveAll(e.dir)
	}
}
