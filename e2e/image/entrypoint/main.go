//go:build linux

// Entrypoint starts Kafka or ZooKeeper in a container, with the environment variables of the images
// apache/kafka, confluentinc/cp-kafka and confluentinc/cp-zookeeper. The images that stand in for them have
// it: they hold Java, the jars of a release, and no shell. Its arguments are more arguments of the command
// that formats a data directory.
package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

const (
	java      = "/opt/java/bin/java"
	config    = "/tmp/server.properties"
	data      = "/tmp/kafka-logs"
	clusterID = "5L6g3nShT-eMCtK--X86sw" // the one of apache/kafka
)

// jvm are the options of every JVM: none lives long.
var jvm = []string{
	"-Xmx400m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData",
	"-Dlog4j2.configurationFile=/opt/kafka/log4j2-broker.properties", "-Dlog4j.configuration=file:/opt/kafka/log4j-broker.properties",
	"-cp", "/opt/kafka/libs/*",
}

func main() {
	err := start(os.Environ(), os.Args[1:])
	fmt.Fprintln(os.Stderr, "entrypoint:", err) // start returns with an error alone
	os.Exit(1)                                  //nolint:forbidigo // this is main
}

// start replaces this process by a server.
func start(env, formatArgs []string) error {
	if port, ok := os.LookupEnv("ZOOKEEPER_CLIENT_PORT"); ok {
		if err := write(map[string]string{"clientPort": port, "dataDir": "/tmp/zookeeper", "admin.enableServer": "false"}); err != nil {
			return err
		}
		return replace("org.apache.zookeeper.server.quorum.QuorumPeerMain")
	}
	p := properties(env)
	if p["log.dirs"] == "" {
		p["log.dirs"] = data
	}
	if err := write(p); err != nil {
		return err
	}
	if p["process.roles"] != "" {
		if err := format(p["log.dirs"], formatArgs); err != nil {
			return err
		}
	}
	return replace("kafka.Kafka")
}

// properties are those of a broker: KAFKA_NODE_ID is node.id, with _ for a dot, __ for an underscore and ___
// for a dash.
func properties(env []string) map[string]string {
	key := strings.NewReplacer("___", "-", "__", "_", "_", ".")
	p := make(map[string]string)
	for _, variable := range env {
		name, value, _ := strings.Cut(variable, "=")
		if name, ok := strings.CutPrefix(name, "KAFKA_"); ok {
			p[strings.ToLower(key.Replace(name))] = value
		}
	}
	return p
}

func write(p map[string]string) error {
	var lines strings.Builder
	for _, key := range slices.Sorted(maps.Keys(p)) {
		fmt.Fprintf(&lines, "%s=%s\n", key, p[key])
	}
	return os.WriteFile(config, []byte(lines.String()), 0o600)
}

// format makes the data directory of a broker without ZooKeeper.
func format(dir string, args []string) error {
	if _, err := os.Stat(filepath.Join(dir, "meta.properties")); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	args = slices.Concat(jvm, []string{"kafka.tools.StorageTool", "format", "--cluster-id", clusterID, "--config", config}, args)
	cmd := exec.CommandContext(context.Background(), java, args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}

func replace(class string) error {
	return syscall.Exec(java, append(append([]string{java}, jvm...), class, config), os.Environ())
}
