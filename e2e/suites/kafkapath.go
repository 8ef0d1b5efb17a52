//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"kproxy/e2e/lab"
)

// kafkaPath is a directory like that of a Kafka distribution, with the scripts that
// librdkafka's tests start. It has the newest tools that were published.
func (s *site) kafkaPath(ctx context.Context) (string, error) {
	classpath, err := lab.NewestTools(ctx)
	if err != nil {
		return "", err
	}
	if _, err := lab.Tool("javac", "a Java compiler (Debian: apt-get install openjdk-17-jdk-headless)"); err != nil {
		return "", err
	}
	dir, err := s.newDir("kafka-path")
	if err != nil {
		return "", err
	}
	if err := os.Symlink(strings.TrimSuffix(classpath, "/*"), filepath.Join(dir, "libs")); err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		return "", err
	}
	for script, class := range map[string]string{
		"kafka-topics.sh":    "org.apache.kafka.tools.TopicCommand",
		"kafka-acls.sh":      "org.apache.kafka.tools.AclCommand",
		"kafka-run-class.sh": "",
	} {
		text := fmt.Sprintf("#!/bin/sh\nexec java -Xmx128m -XX:TieredStopAtLevel=1 -cp \"$CLASSPATH:%s\" %s \"$@\"\n", classpath, class)
		if err := os.WriteFile(filepath.Join(bin, script), []byte(text), 0o755); err != nil {
			return "", err
		}
	}
	return dir, nil
}
