//go:build e2e

package doctor

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"kproxy/e2e/lab"
)

// The network of a separate broker with the configuration that Kafka ships.
const (
	loneHere = "198.51.100.200"
	loneAt   = "198.51.100.50"
	loneName = "lone.kafka.example"
	lonePort = 9092
)

// loneProperties are Kafka's own config/server.properties, without its comments and the
// settings that concern neither listeners nor names. Each %s is a file or a folder. A broker that was killed starts
// again when its session is over: that takes 9 s by default.
const loneProperties = `process.roles=broker,controller
node.id=1
controller.quorum.voters=1@localhost:9093
listeners=PLAINTEXT://:9092,CONTROLLER://:9093
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL
offsets.topic.replication.factor=1
log.index.size.max.bytes=1048576
log.cleaner.dedupe.buffer.size=2097152
log.dirs=%s
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=1500
`

// protocolMap is a line of it.
var protocolMap = regexp.MustCompile(`(?m)^listener\.security\.protocol\.map=.*\n`)

// lone is that broker.
type lone struct {
	*site
	net  *lab.Namespace
	dir  string
	proc *lab.Process
}

// newLone makes its network, with names that only it knows, and its data directory.
func (s *site) newLone(t *testing.T) *lone {
	t.Helper()
	l := &lone{site: s, net: space(t, "kp-dr-lone"), dir: t.TempDir()}
	check(t,
		l.net.Link(loneAt+"/24", s.me, loneHere+"/24"),
		l.net.Hosts(map[string]string{"ip-10-99-7-1.ec2.internal": loneAt, "kafka": loneAt, loneName: loneAt}),
	)
	l.write(t, "", false)
	if out, err := lab.Output(s.java.Tool(t.Context(), s.release.Classpath, "kafka.tools.StorageTool",
		"format", "--cluster-id", lab.ClusterID, "--config", l.file())); err != nil {
		t.Fatalf("format: %v\n%s", err, out)
	}
	t.Cleanup(func() { l.stop() })
	return l
}

func (l *lone) file() string { return filepath.Join(l.dir, "server.properties") }

// write writes the configuration: Kafka's own, with or without its map of protocols, and more lines.
func (l *lone) write(t *testing.T, more string, bare bool) {
	t.Helper()
	text := fmt.Sprintf(loneProperties, filepath.Join(l.dir, "data")) + more
	if bare {
		text = protocolMap.ReplaceAllString(text, "")
	}
	check(t, os.WriteFile(l.file(), []byte(text), 0o600))
}

// paste pastes lines into the configuration.
func (l *lone) paste(t *testing.T, lines []string) {
	t.Helper()
	text, err := os.ReadFile(l.file())
	check(t, err, os.WriteFile(l.file(), []byte(pasted(string(text), lines)), 0o600))
}

// restart ends the broker, if it runs, and starts it with the configuration as it is now.
func (l *lone) restart(t *testing.T) {
	t.Helper()
	l.stop()
	var err error
	log := filepath.Join(l.dir, "broker.log")
	_ = os.Remove(log)
	l.proc, err = lab.StartProcess("broker", log, l.net.Command(l.java.Server(l.life, l.release.Classpath, "kafka.Kafka", l.file())))
	check(t, err, lab.Poll(t.Context(), startLimit, func() error {
		if err := l.proc.Alive(); err != nil {
			return lab.Permanent(err)
		}
		text, err := os.ReadFile(log)
		if err == nil && !bytes.Contains(text, []byte("Kafka Server started")) {
			err = fmt.Errorf("it has not started yet:\n%s", l.proc.LogTail())
		}
		return err
	}))
}

func (l *lone) stop() {
	if l.proc != nil {
		l.proc.Kill()
		l.proc = nil
	}
}
