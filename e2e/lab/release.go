//go:build linux

package lab

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Newest is the newest release of Kafka.
const Newest = "4.4.0"

// Release is a version of Kafka, resolved.
type Release struct {
	Version   string // such as "2.2.1"
	ZooKeeper bool   // it is run with ZooKeeper, not with controllers of its own
	// Classpath holds the broker, its client, and, but for the newest, its tools.
	Classpath string
	// Client is the jar of the Java client.
	Client string
}

// Releases are the versions that the lab can run, oldest first.
func Releases() []string { return []string{"2.2.1", "2.8.2", "3.6.2", "3.9.2", "4.0.2", Newest} }

// NewRelease resolves a version of Releases.
func NewRelease(ctx context.Context, version string) (Release, error) {
	pom, err := kafkaFiles.ReadFile("kafka/" + version + ".xml")
	if err != nil {
		return Release{}, fmt.Errorf("no pom for Kafka %s; there are %s", version, strings.Join(Releases(), ", "))
	}
	dir, err := Jars(ctx, pom)
	if err != nil {
		return Release{}, err
	}
	client, err := onlyMatch(dir, "kafka-clients-*.jar")
	if err != nil {
		return Release{}, err
	}
	return Release{
		Version:   version,
		ZooKeeper: strings.HasPrefix(version, "2."),
		Classpath: filepath.Join(dir, "*"),
		Client:    client,
	}, nil
}

// AtLeast compares the version with another, such as "2.4".
func (r Release) AtLeast(version string) bool { return AtLeast(r.Version, version) }

// AtLeast compares versions such as "2.2.1" and "2.4".
func AtLeast(version, least string) bool {
	number := func(s string) (n []int) {
		for part := range strings.SplitSeq(s, ".") {
			i, _ := strconv.Atoi(part) // a release is numbers
			n = append(n, i)
		}
		return n
	}
	return slices.Compare(number(version), number(least)) >= 0
}

// NewestTools is the class path of the newest tools that were published. Put a
// Client jar before it, and all that talks to a broker is that one.
func NewestTools(ctx context.Context) (string, error) {
	pom, err := kafkaFiles.ReadFile("kafka/tools.xml")
	if err != nil {
		return "", err
	}
	dir, err := Jars(ctx, pom)
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "*"), nil
}
