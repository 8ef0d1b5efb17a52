//go:build linux

package lab

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

// kafkaFiles are the poms of Kafka's releases and the logging configurations.
//
//go:embed kafka
var kafkaFiles embed.FS

// Java runs classes.
type Java struct {
	program string
	logging string // the directory of the logging configurations
	tmp     string // the directory for files that Java unpacks
	full    bool   // both tiers of the compiler
}

// NewJava finds the Java runtime. Its files are in dir.
func NewJava(dir string) (Java, error) {
	program, err := Tool("java", "a Java runtime, 17 or newer, to run Kafka (Debian: apt-get install openjdk-17-jre-headless)")
	if err != nil {
		return Java{}, err
	}
	files, err := fs.Sub(kafkaFiles, "kafka")
	if err != nil {
		return Java{}, err
	}
	j := Java{program: program, logging: filepath.Join(dir, "logging"), tmp: dir}
	return j, os.CopyFS(j.logging, files)
}

// Optimised returns a Java whose classes are compiled as in production, for measurements.
func (j Java) Optimised() Java {
	j.full = true
	return j
}

// Server is a process that lives for the whole run, such as a broker. Its log is
// its standard output.
func (j Java) Server(ctx context.Context, classpath, class string, args ...string) *exec.Cmd {
	return j.run(ctx, "broker", classpath, class, args...)
}

// Tool is a program that ends by itself, such as one of Kafka's command line
// tools. Its log is on standard error.
func (j Java) Tool(ctx context.Context, classpath, class string, args ...string) *exec.Cmd {
	return j.run(ctx, "tool", classpath, class, args...)
}

// run is one Java process. In tests none lives long enough for the second compiler tier to be
// worth its cost on two cores. None leaves a file behind when it is killed: the
// compression libraries unpack themselves into the temporary directory, which goes with
// the run. Kafka up to 3.9 logs by log4j 1.
func (j Java) run(ctx context.Context, logging, classpath, class string, args ...string) *exec.Cmd {
	jvm := []string{
		"-Xmx512m", "-XX:+UseSerialGC", "-XX:-UsePerfData",
		"-Djava.io.tmpdir=" + j.tmp,
		"-Dlog4j2.configurationFile=" + filepath.Join(j.logging, "log4j2-"+logging+".properties"),
		"-Dlog4j.configuration=file:" + filepath.Join(j.logging, "log4j-"+logging+".properties"),
		"-cp", classpath, class,
	}
	if !j.full {
		jvm = append([]string{"-XX:TieredStopAtLevel=1"}, jvm...)
	}
	return Command(ctx, j.program, append(jvm, args...)...)
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
