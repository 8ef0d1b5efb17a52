//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
)

// Kafka's own tools, by class.
const (
	topicCommand    = "org.apache.kafka.tools.TopicCommand"
	consoleProducer = "org.apache.kafka.tools.ConsoleProducer"
	consoleConsumer = "org.apache.kafka.tools.consumer.ConsoleConsumer"
)

// javaRuntime runs Kafka's own classes.
type javaRuntime struct {
	java    string // the program
	logging string // the directory of the logging configurations
	tmp     string // the directory for what Java unpacks
	broker  string // class path of the broker
	tools   []javaClient
}

// javaClient is a version of the Java client, under Kafka's own tools.
type javaClient struct {
	version   string
	classpath string
}

func newJavaRuntime(ctx context.Context, tmp string) (javaRuntime, error) {
	java, err := tool("java", "a Java runtime, 17 or newer, to run Kafka (Debian: apt-get install openjdk-17-jre-headless)")
	if err != nil {
		return javaRuntime{}, err
	}
	broker, err := jars(ctx, "kafka/pom.xml")
	if err != nil {
		return javaRuntime{}, err
	}
	tools, err := jars(ctx, "kafka/tools/pom.xml")
	if err != nil {
		return javaRuntime{}, err
	}
	newest, err := onlyMatch(broker, "kafka-clients-*.jar")
	if err != nil {
		return javaRuntime{}, err
	}
	logging, err := filepath.Abs("kafka")
	if err != nil {
		return javaRuntime{}, err
	}
	return javaRuntime{
		java:    java,
		logging: logging,
		tmp:     tmp,
		broker:  filepath.Join(broker, "*"),
		tools: []javaClient{
			{"as released with the tools", filepath.Join(tools, "*")},
			// The first jar on a class path wins, so all that talks to a broker
			// is the newest. The older one behind it lends the tools the helper
			// classes that have moved since.
			{"as released with the broker", newest + ":" + filepath.Join(tools, "*")},
		},
	}, nil
}

func onlyMatch(dir, pattern string) (string, error) {
	found, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		return "", err
	}
	if len(found) != 1 {
		return "", fmt.Errorf("%s in %s: got %d files, want 1", pattern, dir, len(found))
	}
	return found[0], nil
}

// Broker is a Kafka broker.
func (j javaRuntime) Broker(ctx context.Context, config string) *exec.Cmd {
	return j.run(ctx, "384m", "log4j2-broker.properties", j.broker, "kafka.Kafka", config)
}

// Tool is one of Kafka's command line tools, by the name of its class.
func (j javaRuntime) Tool(ctx context.Context, classpath, class string, args ...string) *exec.Cmd {
	return j.run(ctx, "128m", "log4j2-tool.properties", classpath, class, args...)
}

// run is one Java process. None lives long enough for the second compiler tier
// to earn back what it costs on two cores, and none leaves a file behind when it
// is killed: the compression libraries unpack themselves into the temporary
// directory, which goes with the run.
func (j javaRuntime) run(ctx context.Context, heap, logging, classpath, class string, args ...string) *exec.Cmd {
	jvm := []string{
		"-Xmx" + heap, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData",
		"-Djava.io.tmpdir=" + j.tmp,
		"-Dlog4j2.configurationFile=" + filepath.Join(j.logging, logging),
		"-cp", classpath, class,
	}
	return command(ctx, j.java, append(jvm, args...)...)
}
