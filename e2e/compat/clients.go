//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"kproxy/e2e/lab"
)

// build has the parts that a run builds once: programs, libraries and kproxy.
type build struct {
	dir    string
	java   lab.Java
	kproxy string
	goDir  string // the Go clients' binaries
	python string // of a virtual environment with the libraries
	node   string // a directory with node_modules
	tools  string // class path of Kafka's newest tools
	source string // e2e/compat/clients
}

// client is a client that people use.
type client struct {
	name string
	// program runs it: `program WORK --flags`.
	program func(ctx context.Context) *exec.Cmd
}

// buildAll builds everything. Its downloads are kept in the lab's cache.
func buildAll(ctx context.Context, dir string, o options) (*build, error) {
	root, err := lab.ModuleRoot()
	if err != nil {
		return nil, err
	}
	b := &build{dir: dir, source: filepath.Join(root, "e2e", "compat", "clients"), goDir: filepath.Join(dir, "go")}
	steps := []struct {
		name string
		run  func() error
	}{
		{"Java", func() (err error) { b.java, err = lab.NewJava(dir); return err }},
		{"Kafka's newest tools", func() (err error) { b.tools, err = lab.NewestTools(ctx); return err }},
		{"kproxy", func() (err error) { b.kproxy, err = lab.BuildKproxy(ctx, dir); return err }},
		{"the Go clients", func() error { return b.buildGo(ctx) }},
		{"the Python clients", func() (err error) {
			if o.wants("confluent-kafka") || o.wants("kafka-python") || o.wants("aiokafka") {
				b.python, err = lab.Python(ctx, filepath.Join(b.source, "python", "requirements.txt"))
			}
			return err
		}},
		{"the Node client", func() (err error) {
			if o.wants("kafkajs") {
				b.node, err = b.buildNode(ctx)
			}
			return err
		}},
		{"kcat", func() error {
			_, err := lab.Tool("kcat", "the librdkafka client (Debian: apt-get install kcat)")
			return err
		}},
	}
	for _, step := range steps {
		fmt.Fprintln(o.stdout, "building", step.name)
		if err := step.run(); err != nil {
			return nil, fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return b, nil
}

func (b *build) buildGo(ctx context.Context) error {
	if err := os.MkdirAll(b.goDir, 0o755); err != nil {
		return err
	}
	cmd := lab.Command(ctx, "go", "build", "-o", b.goDir, "./...")
	cmd.Dir = filepath.Join(b.source, "go")
	return explain(lab.Output(cmd))
}

// buildNode installs the packages of package-lock.json.
func (b *build) buildNode(ctx context.Context) (string, error) {
	npm, err := lab.Tool("npm", "Node's package manager (Debian: apt-get install npm)")
	if err != nil {
		return "", err
	}
	source := filepath.Join(b.source, "node")
	return lab.Cached(filepath.Join(source, "package-lock.json"), func(dir string) error {
		for _, name := range []string{"package.json", "package-lock.json"} {
			content, err := os.ReadFile(filepath.Join(source, name))
			if err != nil {
				return err
			}
			if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, name), content, 0o600)); err != nil {
				return err
			}
		}
		cmd := lab.Command(ctx, npm, "ci", "--silent", "--no-audit", "--no-fund")
		cmd.Dir = dir
		return explain(lab.Output(cmd))
	})
}

// javaClasses compiles the Java client against a release's library.
func (b *build) javaClasses(ctx context.Context, release lab.Release) (string, error) {
	if _, err := lab.Tool("javac", "a Java compiler (Debian: apt-get install openjdk-17-jdk-headless)"); err != nil {
		return "", err
	}
	dir := filepath.Join(b.dir, "classes-"+release.Version)
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	return dir, explain(lab.Output(lab.Command(ctx, filepath.Join(b.source, "java", "build.sh"), release.Classpath, dir)))
}

func explain(out string, err error) error {
	if err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	return nil
}

// clientNames are the values of --clients. "java" is one for each release.
var clientNames = []string{
	"kcat", "franz", "sarama", "segmentio", "confluent-kafka", "kafka-python", "aiokafka", "kafkajs", "java",
}

// clients are the clients to run with a release.
func (b *build) clients(ctx context.Context, version string, o options) ([]*client, error) {
	all := []*client{
		b.goClient("kcat"), b.goClient("franz"), b.goClient("sarama"), b.goClient("segmentio"),
		b.pythonClient("confluent-kafka", "confluent_client.py"), b.pythonClient("kafka-python", "kafka_python_client.py"),
		b.pythonClient("aiokafka", "aiokafka_client.py"), b.nodeClient(),
	}
	all = slices.DeleteFunc(all, func(c *client) bool {
		quickly := c.name == "kcat" || c.name == "franz"
		return !o.wants(c.name) || o.quick && version != lab.Newest && !quickly
	})
	libraries := []string{version, lab.Newest}
	if o.quick { // the console tools are Java's own
		libraries = slices.DeleteFunc(libraries[:1], func(v string) bool { return v != lab.Newest })
	}
	for _, library := range slices.Compact(libraries) {
		if !o.wants("java") {
			break
		}
		release, err := lab.NewRelease(ctx, library)
		if err != nil {
			return nil, err
		}
		c, err := b.javaClient(ctx, release)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

// javaClient is the Java program on a release's library.
func (b *build) javaClient(ctx context.Context, release lab.Release) (*client, error) {
	classes, err := b.javaClasses(ctx, release)
	if err != nil {
		return nil, err
	}
	classpath := classes + ":" + release.Classpath
	return &client{name: "java " + release.Version, program: func(ctx context.Context) *exec.Cmd {
		return b.java.Tool(ctx, classpath, "Client")
	}}, nil
}

func (b *build) goClient(name string) *client {
	return &client{name: name, program: func(ctx context.Context) *exec.Cmd {
		return lab.Command(ctx, filepath.Join(b.goDir, name))
	}}
}

func (b *build) pythonClient(name, file string) *client {
	return &client{name: name, program: func(ctx context.Context) *exec.Cmd {
		return lab.Command(ctx, b.python, filepath.Join(b.source, "python", file))
	}}
}

func (b *build) nodeClient() *client {
	return &client{name: "kafkajs", program: func(ctx context.Context) *exec.Cmd {
		cmd := lab.Command(ctx, "node", filepath.Join(b.source, "node", "kafkajs.js"))
		cmd.Env = append(os.Environ(), "NODE_PATH="+filepath.Join(b.node, "node_modules"))
		return cmd
	}}
}

// trial is one client in one place, with a topic and a group that are its own.
type trial struct {
	client      *client
	place       *lab.Namespace
	proxied     bool
	version     string // of the brokers
	plain, sasl string // bootstrap addresses
	readers     string // the same for a listener that refuses writes; directly there is none
	name        string // of topics, groups and records
	cluster     *lab.Cluster
	fill        func(ctx context.Context, topic string, partitions int32, count, size int) error
	// told is the client's result, for the comparison with the direct run.
	told  []response
	notes []string
}

// response is the JSON object of a client at its end; clients/README.md has the contract.
type response struct {
	Client     string         `json:"client"`
	Version    string         `json:"version"`
	Work       string         `json:"work"`
	Sent       int            `json:"sent"`
	Acked      int            `json:"acked"`
	Read       int            `json:"read"`
	Distinct   int            `json:"distinct"`
	Duplicates int            `json:"duplicates"`
	Addresses  []string       `json:"addresses"`
	Error      string         `json:"error"`
	NotOffered string         `json:"not_offered"`
	Details    map[string]any `json:"details"`
}

// notOfferedError is work that a client's library does not offer.
type notOfferedError string

func (e notOfferedError) Error() string { return "not offered: " + string(e) }

// clientTimeout bounds a client that exceeds its own limit.
const clientTimeout = 3 * time.Minute

// run runs the client to its end. Its error is the client's own error, an address that it
// should not have got, or that it does not offer the work.
func (t *trial) run(ctx context.Context, work string, args ...string) (response, error) {
	ctx, cancel := context.WithTimeout(ctx, clientTimeout)
	defer cancel()
	cmd := t.client.program(ctx)
	cmd.Args = append(append(cmd.Args, work, "--broker-version", t.version), args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	runErr := lab.Run(t.place.Command(cmd))

	var a response
	lines := strings.Split(strings.TrimSpace(stdout.String()), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &a); err != nil {
		return a, fmt.Errorf("%v printed no result: %w; %w\n%s%s", cmd.Args, err, runErr, tail(stdout.String()), tail(stderr.String()))
	}
	t.told = append(t.told, a)
	if t.proxied {
		heard, err := json.Marshal(a)
		if err != nil {
			return a, err
		}
		if err := refuseBrokerWords(string(heard), stderr.String()); err != nil {
			return a, err
		}
	}
	switch {
	case a.NotOffered != "":
		return a, notOfferedError(a.NotOffered)
	case a.Error != "":
		return a, fmt.Errorf("%s: %s\n%s", work, a.Error, tail(stderr.String()))
	case runErr != nil:
		return a, fmt.Errorf("%s: %w\n%s", work, runErr, tail(stderr.String()))
	}
	return a, nil
}

// tail is the end of a program's output.
func tail(s string) string {
	const most = 1500
	if len(s) > most {
		s = "…" + s[len(s)-most:]
	}
	return s
}

// refuseBrokerWords is an error if a client got a broker's own address.
func refuseBrokerWords(texts ...string) error {
	for _, text := range texts {
		for line := range strings.Lines(text) {
			for _, word := range brokerWords {
				if strings.Contains(line, word) {
					return fmt.Errorf("the client got a broker's own address: %s", strings.TrimSpace(line))
				}
			}
		}
	}
	return nil
}
