//go:build linux

package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"kproxy/e2e/lab"
)

// Kafka has the files that the images of all releases share.
type Kafka struct {
	root       string // of the module
	jre        string
	entrypoint string
}

// Entrypoint is the first program of a container, which has no shell.
const Entrypoint = "/entrypoint"

// NewKafka makes a Java runtime and the first program in a directory.
func NewKafka(ctx context.Context, dir string) (*Kafka, error) {
	root, err := lab.ModuleRoot()
	if err != nil {
		return nil, err
	}
	k := &Kafka{root: root, jre: filepath.Join(dir, "jre"), entrypoint: filepath.Join(dir, "entrypoint")}
	jlink, err := lab.Tool("jlink", "a JDK (Debian: apt-get install openjdk-17-jdk-headless)")
	if err != nil {
		return nil, err
	}
	out, err := lab.Output(lab.Command(ctx, jlink, "--add-modules", "java.se,jdk.unsupported,jdk.management,jdk.crypto.ec,jdk.zipfs",
		"--strip-java-debug-attributes", "--no-header-files", "--no-man-pages", "--output", k.jre))
	if err != nil {
		return nil, fmt.Errorf("jlink: %w: %s", err, out)
	}
	return k, Build(ctx, k.entrypoint, "kproxy/e2e/image/entrypoint")
}

// Build builds a static program for an image.
func Build(ctx context.Context, program, pkg string) error {
	cmd := lab.Command(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", program, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // there is no libc
	if out, err := lab.Output(cmd); err != nil {
		return fmt.Errorf("go build %s: %w: %s", pkg, err, out)
	}
	return nil
}

// Fill adds Java, the jars of a release, and the first program.
func (k *Kafka) Fill(ctx context.Context, a *Archive, release lab.Release) error {
	logging := filepath.Join(k.root, "e2e/lab/kafka")
	return errors.Join(
		a.Programs(ctx, filepath.Join(k.jre, "bin/java"), filepath.Join(k.jre, "lib/server/libjvm.so"), filepath.Join(k.jre, "lib/libzip.so")),
		a.Tree(k.jre, "opt/java"),
		a.Tree(filepath.Dir(release.Classpath), "opt/kafka/libs"),
		a.File(filepath.Join(logging, "log4j-broker.properties"), "opt/kafka/log4j-broker.properties"),
		a.File(filepath.Join(logging, "log4j2-broker.properties"), "opt/kafka/log4j2-broker.properties"),
		a.File(k.entrypoint, "entrypoint"),
	)
}
