//go:build linux

package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"kproxy/e2e/lab"
)

const (
	kroxyliciousName = "kroxylicious"
	// kroxyliciousWarmup is the time for a JVM to compile the code of a workload before
	// its first turn.
	kroxyliciousWarmup = 60 * time.Second
	// A JVM's ciphers are another comparison: its TLS is the JDK's, or OpenSSL's by
	// a library that is not among its jars.
	kroxyliciousNoTLS = "left out of workloads with TLS: the ciphers of a JVM are another comparison"
)

var (
	//go:embed kroxylicious/pom.xml
	kroxyliciousPom []byte
	//go:embed kroxylicious/Launch.java
	kroxyliciousLaunch []byte
)

// findKroxylicious resolves the runtime's jars and compiles a launcher for them:
// the app with its start script is in the distribution, which is not on Maven
// Central.
func findKroxylicious(ctx context.Context, e *env) (string, error) {
	for tool, install := range map[string]string{"mvn": "maven", "javac": "openjdk-17-jdk-headless"} {
		if _, err := exec.LookPath(tool); err != nil {
			return "", fmt.Errorf("%s is not installed, which it is resolved with (Debian: apt-get install %s)", tool, install)
		}
	}
	const enough = 3 * time.Minute
	ctx, cancel := context.WithTimeout(ctx, enough)
	defer cancel()
	cached, err := lab.Jars(ctx, kroxyliciousPom)
	if err != nil {
		return "", fmt.Errorf("not resolved from Maven Central: %w", err)
	}
	// The cache may lie where an unprivileged process cannot read.
	e.jars = filepath.Join(e.dir, "kroxylicious-jars")
	if err := os.CopyFS(e.jars, os.DirFS(cached)); err != nil {
		return "", err
	}
	source := filepath.Join(e.jars, "Launch.java")
	if err := os.WriteFile(source, kroxyliciousLaunch, 0o600); err != nil {
		return "", err
	}
	if out, err := exec.CommandContext(ctx, "javac", "-cp", filepath.Join(e.jars, "*"), "-d", e.jars, source).CombinedOutput(); err != nil {
		return "", fmt.Errorf("javac: %w\n%s", err, out)
	}
	runtime, err := filepath.Glob(filepath.Join(e.jars, "kroxylicious-runtime-*.jar"))
	if err != nil || len(runtime) == 0 {
		return "", errors.Join(errors.New("no kroxylicious-runtime among its jars"), err)
	}
	return strings.TrimSuffix(filepath.Base(runtime[0]), ".jar") + ", " + firstLine(exec.CommandContext(ctx, "java", "-version")), nil
}

func startKroxylicious(ctx context.Context, e *env, r route) (*running, error) {
	run := &running{addresses: []string{r.listen(0)}, config: fmt.Sprintf(`virtualClusters:
  - name: bench
    targetCluster: {bootstrapServers: "%s"}
    gateways:
      - name: default
        portIdentifiesNode:
          bootstrapAddress: "%s"
          nodeStartPort: %d
          nodeIdRanges: [{name: all, start: 0, end: %d}]
`, strings.Join(r.upstream, ","), r.listen(0), r.port+1, lab.PortBlock-2)}
	dir, err := e.configured(kroxyliciousName, "proxy.yaml", run.config)
	if err != nil {
		return nil, err
	}
	threads := fmt.Sprintf("-XX:ActiveProcessorCount=%d", e.threads)
	run.config += "# java " + threads
	run.server, err = e.serve(kroxyliciousName, e.command(ctx, r.place.proxy, "java", threads,
		"-cp", e.jars+string(filepath.ListSeparator)+filepath.Join(e.jars, "*"), "Launch", filepath.Join(dir, "proxy.yaml")))
	return run, err
}
