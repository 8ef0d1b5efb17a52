//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"kproxy/e2e/lab"
)

// sarama are the functional tests of IBM's client. They connect through toxiproxy, by
// which they break connections, and stop and start brokers by a command named docker.
type sarama struct {
	site      *site
	dir, bin  string
	toxiproxy string // the binary
}

const (
	saramaModule  = "github.com/IBM/sarama"
	saramaBrokers = 5
	toxiproxyPkg  = "github.com/Shopify/toxiproxy/v2/cmd/server@v2.12.0"
)

func (*sarama) about() about {
	return about{
		name: "sarama", title: "sarama, functional", limit: 20 * time.Minute,
		how: "`-tags functional`, `TOXIPROXY_ADDR`, `KAFKA_VERSION=" + lab.Newest + "`; " + toxiproxyPkg +
			" is between the tests and kproxy, and a program named docker stops and starts the brokers",
	}
}

func (m *sarama) fetch(ctx context.Context, s *site) (string, error) {
	m.site = s
	src, version, err := s.module(ctx, saramaModule)
	if err != nil {
		return "", err
	}
	if m.dir, err = copyTree(s, src, "."); err != nil {
		return "", err
	}
	m.bin = filepath.Join(m.dir, "sarama.testbin")
	if _, err := s.build(ctx, m.dir, "test", "-mod=mod", "-tags=functional", "-c", "-o", m.bin, "."); err != nil {
		return "", err
	}
	m.toxiproxy = filepath.Join(m.dir, "toxiproxy")
	if err := s.install(ctx, toxiproxyPkg, m.toxiproxy); err != nil {
		return "", err
	}
	return saramaModule + " " + version, nil
}

// install builds a program of another module.
func (s *site) install(ctx context.Context, pkg, file string) error {
	dir, err := s.newDir("bin")
	if err != nil {
		return err
	}
	cmd := lab.Command(ctx, s.goTool, "install", pkg)
	cmd.Dir = dir // in no module
	cmd.Env = append(os.Environ(), "GOBIN="+dir, "GOWORK=off")
	if out, err := lab.Output(cmd); err != nil {
		return fmt.Errorf("go install %s: %w\n%s", pkg, err, out)
	}
	built, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(built) != 1 {
		return fmt.Errorf("go install %s made %d files, not 1", pkg, len(built))
	}
	return os.Rename(built[0], file)
}

func (m *sarama) brokers() brokers {
	return &toxicKafka{kafka: kafka{forSarama: true}, server: m.toxiproxy}
}

func (m *sarama) commands(ctx context.Context, at target, only []string) []*exec.Cmd {
	cmd := m.site.goTest(ctx, "", m.bin, m.dir, m.about().limit, only)
	cmd.Env = append(cmd.Env, "TOXIPROXY_ADDR=http://"+toxicAdmin, "KAFKA_VERSION="+lab.Newest,
		"PATH="+at.dir+":"+os.Getenv("PATH"), dockerSocket+"="+filepath.Join(at.dir, "docker.sock"))
	return []*exec.Cmd{cmd}
}

func (m *sarama) parse(output io.Reader, note func(string, result)) error {
	return parseGoTest(output, note)
}

// saramaProperties are those of the brokers of sarama's docker-compose.yml.
func saramaProperties(id int) map[string]string {
	props := brokerProperties(id)
	maps.Copy(props, map[string]string{
		"broker.rack":                              fmt.Sprint(id),
		"auto.create.topics.enable":                "false",
		"min.insync.replicas":                      "1",
		"default.replication.factor":               "2",
		"offsets.topic.replication.factor":         "2",
		"transaction.state.log.replication.factor": "2",
		"transaction.state.log.min.isr":            "1",
	})
	delete(props, "authorizer.class.name")
	return props
}

// toxicAdmin is toxiproxy's own API.
const toxicAdmin = "127.0.0.1:8474"

// toxicAddress is the address by which sarama's tests reach a broker. It is in their
// code.
func toxicAddress(id int) string { return lab.HostPort("localhost", 29090+id) }

// toxicKafka are brokers, or kproxy, behind toxiproxy.
type toxicKafka struct {
	kafka

	server string // toxiproxy's binary
}

func (k *toxicKafka) open(ctx context.Context, s *site, w way) (target, func() (counts, error), error) {
	dir, err := s.newDir("sarama-run")
	if err != nil {
		return target{}, nil, err
	}
	t := target{way: w, dir: dir}
	to := func(id int) string { return k.at.broker(id, plainPort) }
	var front *front
	if w == through {
		at := s.newSeat()
		to = func(id int) string { return lab.HostPort(at.front(), 9100+id) }
		front, err = s.startFront(ctx, at, dir, fmt.Sprintf(`
  vpc:
    bootstrap: [%s]
    dial: [%s]
    listeners:
      clients:
        bind: "%s:9092"
        advertise: localhost:29090
        nodes: {ports: 9101-9105, advertise_ports: 29091-29095, first_node: 1}
`, k.seeds(plainBehind), k.at.rule(plainPort, plainBehind), at.front()))
		if err != nil {
			return t, nil, err
		}
	}
	toxiproxy, err := k.startToxiproxy(ctx, s, dir, to)
	if err != nil {
		return t, nil, err
	}
	stop, err := k.serveDocker(dir)
	if err != nil {
		toxiproxy.Kill()
		return t, nil, err
	}
	return t, func() (c counts, err error) {
		stop()
		toxiproxy.Kill()
		if front != nil {
			c, err = front.stop(ctx)
		}
		if err == nil {
			err = k.cluster.WaitWhole(ctx)
		}
		return c, err
	}, nil
}

// startToxiproxy leads each broker's address on.
func (k *toxicKafka) startToxiproxy(ctx context.Context, s *site, dir string, to func(id int) string) (*lab.Process, error) {
	type proxy struct {
		Name     string `json:"name"`
		Listen   string `json:"listen"`
		Upstream string `json:"upstream"`
		Enabled  bool   `json:"enabled"`
	}
	var all []proxy
	for id := 1; id <= saramaBrokers; id++ {
		all = append(all, proxy{fmt.Sprintf("kafka%d", id), fmt.Sprintf("127.0.0.1:%d", 29090+id), to(id), true})
	}
	text, err := json.Marshal(all)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "toxiproxy.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		return nil, err
	}
	p, err := lab.StartProcess("toxiproxy", filepath.Join(dir, "toxiproxy.log"),
		s.net.Command(lab.Command(ctx, k.server, "-host", "127.0.0.1", "-config", file)))
	if err != nil {
		return nil, err
	}
	return p, lab.Poll(ctx, 20*time.Second, func() error {
		if err := p.Alive(); err != nil {
			return lab.Permanent(err)
		}
		_, err := s.net.Get(ctx, toxicAdmin, "/version")
		return err
	})
}
