//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"kproxy/e2e/lab"
)

// realLoad is one use of a performance tool.
type realLoad struct {
	name    string
	produce bool
	size    int // of a record, in bytes
}

func realLoads() []realLoad {
	return []realLoad{
		{"produce-1KB", true, 1000},
		{"consume-1KB", false, 1000},
		{"produce-100KB", true, 100_000},
		{"consume-100KB", false, 100_000},
	}
}

// records is how many a turn has.
func (l realLoad) records(megabytes int) int { return megabytes * 1_000_000 / l.size }

// topic holds the records of a consumer. A producer's topic is another one, whose old segments
// go while the runs last.
func (l realLoad) topic() string {
	return strings.NewReplacer("produce", "to", "consume", "from").Replace(l.name)
}

// The clients.
const (
	javaClient = "java"
	kcatClient = "kcat"
)

// realClient carries loads.
type realClient interface {
	// produce sends a load's records at most as fast as rate, in records a second; -1: without limit.
	produce(ctx context.Context, address perfAddress, l realLoad, megabytes, rate int) (perfResult, error)
	// consume reads a load's records.
	consume(ctx context.Context, address perfAddress, l realLoad, megabytes int) (perfResult, error)
}

// perfTools are Kafka's kafka-producer-perf-test and kafka-consumer-perf-test.
type perfTools struct {
	java      lab.Java
	classpath string
	version   string
	secure    []string // properties of a client's TLS
	config    string   // file with them
}

// perfAddress is where a tool connects.
type perfAddress struct {
	bootstrap string
	tls       bool
}

// newPerfTools finds the tools. keys are those of TLS; nil: no tool needs it.
func newPerfTools(ctx context.Context, java lab.Java, keys *keyFiles) (*perfTools, error) {
	classpath, err := lab.NewestTools(ctx)
	if err != nil {
		return nil, err
	}
	clients, err := filepath.Glob(filepath.Join(filepath.Dir(classpath), "kafka-clients-*.jar"))
	if err != nil || len(clients) != 1 {
		return nil, errors.Join(fmt.Errorf("%s: %d jars of Kafka's client, want 1", classpath, len(clients)), err)
	}
	version := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(clients[0]), "kafka-clients-"), ".jar")
	p := &perfTools{java: java, classpath: classpath, version: version}
	if keys == nil {
		return p, nil
	}
	p.secure = []string{
		"security.protocol=SSL", "ssl.truststore.type=PEM", "ssl.truststore.location=" + keys.Cert,
		"ssl.enabled.protocols=TLSv1.3", "ssl.cipher.suites=" + tlsSuiteName,
	}
	p.config = keys.Cert + ".properties"
	return p, os.WriteFile(p.config, []byte(strings.Join(p.secure, "\n")+"\n"), 0o600)
}

// perfResult has the figures of one run of a tool.
type perfResult struct {
	bytes   int64         // of records, keys and headers not counted
	took    time.Duration // as the tool says, without its start
	cpu     time.Duration // of the tool, its start included
	latency map[string]time.Duration
}

// perfTimeout bounds one run of a tool.
const perfTimeout = 3 * time.Minute

func (p *perfTools) produce(ctx context.Context, address perfAddress, l realLoad, megabytes, rate int) (perfResult, error) {
	n := l.records(megabytes)
	args := []string{
		"--topic", l.topic(), "--num-records", strconv.Itoa(n), "--record-size", strconv.Itoa(l.size),
		"--throughput", strconv.Itoa(rate), "--producer-props", "bootstrap.servers=" + address.bootstrap,
	}
	if address.tls {
		args = append(args, p.secure...)
	}
	out, r, err := p.run(ctx, "ProducerPerformance", args...)
	if err != nil {
		return r, err
	}
	sent, perS, latency, err := parseProducerPerf(out)
	if err != nil {
		return r, err
	}
	if sent != n {
		return r, fmt.Errorf("%d of %d records were acknowledged", sent, n)
	}
	r.bytes, r.latency = int64(n*l.size), latency
	r.took = time.Duration(float64(n) / perS * float64(time.Second))
	return r, nil
}

func (p *perfTools) consume(ctx context.Context, address perfAddress, l realLoad, megabytes int) (perfResult, error) {
	n := l.records(megabytes)
	args := []string{"--topic", l.topic(), "--messages", strconv.Itoa(n), "--bootstrap-server", address.bootstrap}
	if address.tls {
		args = append(args, "--consumer.config", p.config)
	}
	out, r, err := p.run(ctx, "ConsumerPerformance", args...)
	if err != nil {
		return r, err
	}
	read, took, err := parseConsumerPerf(out)
	if err != nil {
		return r, err
	}
	if read < n {
		return r, fmt.Errorf("%d of %d records were read", read, n)
	}
	r.bytes, r.took = int64(read*l.size), took
	return r, nil
}

func (p *perfTools) run(ctx context.Context, class string, args ...string) (string, perfResult, error) {
	ctx, cancel := context.WithTimeout(ctx, perfTimeout)
	defer cancel()
	cmd := p.java.Tool(ctx, p.classpath, "org.apache.kafka.tools."+class, args...)
	out, err := lab.Output(cmd)
	if err != nil {
		return "", perfResult{}, err
	}
	return out, perfResult{cpu: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}, nil
}

var (
	producerTotal   = regexp.MustCompile(`(?m)^(\d+) records sent, ([\d.]+) records/sec .* (\d+) ms 50th, \d+ ms 95th, (\d+) ms 99th, (\d+) ms 99\.9th\.$`)
	errNoPerfResult = errors.New("the tool's output has no result")
)

// parseProducerPerf reads the last line of kafka-producer-perf-test.
func parseProducerPerf(out string) (sent int, perS float64, latency map[string]time.Duration, err error) {
	m := producerTotal.FindStringSubmatch(out)
	if m == nil {
		return 0, 0, nil, fmt.Errorf("%w:\n%s", errNoPerfResult, out)
	}
	number := func(s string) int {
		n, e := strconv.Atoi(s)
		err = errors.Join(err, e)
		return n
	}
	latency = map[string]time.Duration{}
	for i, percent := range []string{"50", "99", "99.9"} {
		latency[percent] = time.Duration(number(m[3+i])) * time.Millisecond
	}
	sent = number(m[1])
	perS, e := strconv.ParseFloat(m[2], 64)
	if perS <= 0 {
		e = errors.Join(e, fmt.Errorf("%w:\n%s", errNoPerfResult, out))
	}
	return sent, perS, latency, errors.Join(err, e)
}

// parseConsumerPerf reads the last line of kafka-consumer-perf-test, by the names in its first.
func parseConsumerPerf(out string) (read int, took time.Duration, err error) {
	lines := strings.Split(strings.TrimSpace(out), "\n")
	header := -1
	for i, line := range lines {
		if strings.HasPrefix(line, "start.time") {
			header = i
		}
	}
	if header < 0 || header == len(lines)-1 {
		return 0, 0, fmt.Errorf("%w:\n%s", errNoPerfResult, out)
	}
	names, values := strings.Split(lines[header], ","), strings.Split(lines[len(lines)-1], ",")
	column := map[string]string{}
	for i, name := range names[:min(len(names), len(values))] {
		column[strings.TrimSpace(name)] = strings.TrimSpace(values[i])
	}
	read, readErr := strconv.Atoi(column["data.consumed.in.nMsg"])
	fetchMs, fetchErr := strconv.Atoi(column["fetch.time.ms"])
	if err := errors.Join(readErr, fetchErr); err != nil || fetchMs <= 0 {
		return 0, 0, fmt.Errorf("%w: %w:\n%s", errNoPerfResult, err, out)
	}
	return read, time.Duration(fetchMs) * time.Millisecond, nil
}
