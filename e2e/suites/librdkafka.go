//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"kproxy/e2e/lab"
)

// librdkafka are the tests of librdkafka. Its sources, tests included, are in npm's
// @confluentinc/kafka-javascript. The tests that need no broker (-L) are left out: they
// say nothing of kproxy.
type librdkafka struct {
	protocol string // of consumer groups: classic or consumer
	sockem   bool   // the tests that break connections by themselves, one by one

	site      *site
	dir       string // of the tests
	kafkaPath string
}

// sockemTests are the tests that break connections. In one process with others they close
// descriptors that those use.
var sockemTests = []string{"0049", "0068", "0075", "0076", "0088", "0094"}

// shareTests are the tests of share consumers. They run once, with the consumer protocol.
var shareTests = []string{"0170", "0171", "0172", "0173", "0174", "0175", "0176", "0177", "0178", "0179", "0180", "0181", "0184", "0185"}

func (l *librdkafka) about() about {
	a := about{
		name: "librdkafka-" + l.protocol, title: "librdkafka, " + l.protocol + " groups", limit: 20 * time.Minute, processes: 4,
		how: "`test-runner -L -E -Q -p8` (tests that need no broker are left out; short loops, as in its own `make quick`), `test.timeout.multiplier=3`, `TEST_CONSUMER_GROUP_PROTOCOL=" + l.protocol + "`, `TEST_KAFKA_VERSION=" + lab.Newest + "`",
	}
	if l.sockem {
		a.processes = 1
		a.name, a.title = "librdkafka-sockem", "librdkafka, connections that break"
		a.how = "`TESTS=N test-runner -p1` for each of " + strings.Join(sockemTests, ", ")
	}
	return a
}

func (l *librdkafka) brokers() brokers { return &kafka{} }

func (l *librdkafka) fetch(ctx context.Context, s *site) (string, error) {
	l.site = s
	root, err := lab.ModuleRoot()
	if err != nil {
		return "", err
	}
	file := filepath.Join(root, "e2e", "suites", "librdkafka", "package.json")
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	var p struct{ Dependencies map[string]string }
	if err := json.Unmarshal(text, &p); err != nil {
		return "", fmt.Errorf("%s: %w", file, err)
	}
	const name = "@confluentinc/kafka-javascript"
	pkg := name + "@" + p.Dependencies[name]
	dir, err := lab.Cached(file, func(dir string) error { return buildLibrdkafka(ctx, dir, pkg) })
	if err != nil {
		return "", err
	}
	src := filepath.Join(dir, "package", "deps", "librdkafka")
	l.dir = filepath.Join(src, "tests")
	if l.kafkaPath, err = s.kafkaPath(ctx); err != nil {
		return "", err
	}
	version, err := librdkafkaVersion(src)
	return "librdkafka " + version + " (npm " + pkg + ")", err
}

// buildLibrdkafka fetches the package, and builds the library and its tests.
func buildLibrdkafka(ctx context.Context, dir, pkg string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	const needs = "to build librdkafka's tests (Debian: apt-get install npm make g++ libssl-dev zlib1g-dev)"
	src := filepath.Join(dir, "package", "deps", "librdkafka")
	for _, step := range []struct {
		dir  string
		args []string
	}{
		{dir, []string{"npm", "pack", "--silent", pkg}},
		{dir, []string{"sh", "-c", "tar xzf *.tgz && rm *.tgz"}},
		{src, []string{"./configure", "--disable-gssapi", "--disable-zstd", "--disable-lz4-ext"}},
		{src, []string{"make", "-j2", "libs"}},
		{filepath.Join(src, "tests"), []string{"make", "-j2", "build"}},
	} {
		cmd := lab.Command(ctx, step.args[0], step.args[1:]...)
		cmd.Dir = step.dir
		if out, err := lab.Output(cmd); err != nil {
			return fmt.Errorf("%s, %s: %w\n%s", strings.Join(step.args, " "), needs, err, lastLines(out, 30))
		}
	}
	return nil
}

// librdkafkaVersion reads the version of the sources: 0x020f01ff is 2.15.1.
func librdkafkaVersion(src string) (string, error) {
	text, err := os.ReadFile(filepath.Join(src, "src", "rdkafka.h"))
	if err != nil {
		return "", err
	}
	m := regexp.MustCompile(`#define RD_KAFKA_VERSION 0x(..)(..)(..)ff`).FindSubmatch(text)
	if m == nil {
		return "", fmt.Errorf("%s/src/rdkafka.h has no version of a release", src)
	}
	var a, b, c int
	if _, err := fmt.Sscanf(fmt.Sprintf("%s %s %s", m[1], m[2], m[3]), "%x %x %x", &a, &b, &c); err != nil {
		return "", err
	}
	return fmt.Sprintf("%d.%d.%d", a, b, c), nil
}

func (l *librdkafka) commands(ctx context.Context, at target, only []string) []*exec.Cmd {
	conf := filepath.Join(at.dir, "test.conf")
	// A configuration that cannot be written fails all tests, directly too.
	_ = os.WriteFile(conf, []byte("metadata.broker.list="+at.seeds+"\ntest.timeout.multiplier=3\n"), 0o600)
	if l.sockem && only == nil {
		only = sockemTests
	}
	if only == nil {
		return []*exec.Cmd{l.runner(ctx, at, conf, "", "-L", "-E", "-Q", "-p8")}
	}
	var all []*exec.Cmd
	for _, name := range only { // a test that runs out of time kills its process
		number, _, _ := strings.Cut(name, "_")
		all = append(all, l.runner(ctx, at, conf, number, "-L", "-p1"))
	}
	return all
}

// runner is a process of the tests with these numbers.
func (l *librdkafka) runner(ctx context.Context, at target, conf, tests string, args ...string) *exec.Cmd {
	cmd := l.site.net.Command(lab.Command(ctx, filepath.Join(l.dir, "test-runner"), args...))
	cmd.Dir = l.dir
	cmd.Env = append(os.Environ(), "RDKAFKA_TEST_CONF="+conf, "LD_LIBRARY_PATH=../src:../src-cpp",
		"KAFKA_PATH="+l.kafkaPath, "BROKERS="+at.seeds, "TEST_KAFKA_VERSION="+lab.Newest, "TEST_CONSUMER_GROUP_PROTOCOL="+l.protocol)
	if tests != "" {
		cmd.Env = append(cmd.Env, "TESTS="+tests)
	} else if l.protocol == "classic" {
		cmd.Env = append(cmd.Env, "TESTS_SKIP="+strings.Join(shareTests, ","))
	}
	return cmd
}

func (l *librdkafka) parse(output io.Reader, note func(string, result)) error {
	return parseTestRunner(output, note)
}
