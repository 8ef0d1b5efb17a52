//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"kproxy/e2e/lab"
)

// kafkaPython are the integration tests of kafka-python. They are in its source
// distribution.
type kafkaPython struct {
	site        *site
	python, dir string
}

// kafkaPythonAdded are files that the tests import and the distribution lacks. Without the
// first one Python finds a package test of its own. The second one stands for a file that
// starts brokers.
var kafkaPythonAdded = map[string]string{
	"__init__.py": "",
	"service.py": `
class ExternalService:
    def __init__(self, host, port):
        pass


class SpawnedService:
    def __init__(self, args=None, env=None):
        raise RuntimeError("the brokers run already")
`,
}

// integration is the directory of the tests, in the distribution.
const integration = "test/integration/"

func (*kafkaPython) about() about {
	return about{
		name: "kafka-python", title: "kafka-python, integration", limit: 15 * time.Minute,
		how: "`KAFKA_URI`, `KAFKA_VERSION=" + lab.Newest + "`, `pytest " + integration + "`; tests that start brokers of their own are skipped",
	}
}

func (k *kafkaPython) fetch(ctx context.Context, s *site) (string, error) {
	k.site = s
	root, err := lab.ModuleRoot()
	if err != nil {
		return "", err
	}
	requirements := filepath.Join(root, "e2e", "suites", "kafkapython", "requirements.txt")
	if k.python, err = lab.Python(ctx, requirements); err != nil {
		return "", err
	}
	text, err := os.ReadFile(requirements)
	if err != nil {
		return "", err
	}
	pkg := regexp.MustCompile(`(?m)^kafka-python==\S+$`).FindString(string(text))
	if pkg == "" {
		return "", fmt.Errorf("%s has no kafka-python", requirements)
	}
	dir, err := s.newDir("kafka-python")
	if err != nil {
		return "", err
	}
	for _, args := range [][]string{
		{k.python, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-binary", "kafka-python", pkg},
		{"sh", "-c", "tar xzf *.tar.gz && rm *.tar.gz"},
	} {
		cmd := lab.Command(ctx, args[0], args[1:]...)
		cmd.Dir = dir
		if out, err := lab.Output(cmd); err != nil {
			return "", fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, lastLines(out, 30))
		}
	}
	found, err := filepath.Glob(filepath.Join(dir, "*"))
	if err == nil && len(found) != 1 {
		err = errors.New("the distribution of kafka-python is no single directory")
	}
	if err != nil {
		return "", err
	}
	k.dir = found[0]
	for name, text := range kafkaPythonAdded {
		if err := os.WriteFile(filepath.Join(k.dir, "test", name), []byte(text), 0o600); err != nil {
			return "", err
		}
	}
	return strings.Replace(pkg, "==", " ", 1) + " (PyPI)", nil
}

func (*kafkaPython) brokers() brokers { return &kafka{} }

func (k *kafkaPython) commands(ctx context.Context, at target, only []string) []*exec.Cmd {
	args := []string{"-m", "pytest", "-v", "-p", "no:cacheprovider", "--color=no", "--tb=short", "-rfE", "--timeout=120"}
	if only == nil {
		args = append(args, integration)
	}
	for _, name := range only {
		args = append(args, integration+name)
	}
	cmd := k.site.net.Command(lab.Command(ctx, k.python, args...))
	cmd.Dir = k.dir
	seed, _, _ := strings.Cut(at.seeds, ",")
	cmd.Env = append(os.Environ(), "KAFKA_URI=kafka://"+seed, "KAFKA_VERSION="+lab.Newest, "COLUMNS=250")
	return []*exec.Cmd{cmd}
}

func (*kafkaPython) parse(output io.Reader, note func(string, result)) error {
	return parsePytest(output, note)
}

var (
	// pytestLine is the end of a test: "test/integration/test_x.py::test_y[gzip] PASSED [ 50%]".
	pytestLine = regexp.MustCompile(`^` + integration + `(\S+\.py::.+?) (PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS)\b`)
	// pytestWhy is a line of the summary: "FAILED test/integration/test_x.py::test_y - AssertionError".
	pytestWhy = regexp.MustCompile(`^(?:FAILED|ERROR) ` + integration + `(\S+\.py::.+?) - (.*)$`)
)

// parsePytest reads the output of pytest -v -rfE. An error of a test's teardown comes after
// its own outcome, and counts.
func parsePytest(output io.Reader, note func(string, result)) error {
	outcomes := map[string]outcome{"PASSED": passed, "XFAIL": passed, "FAILED": failed, "ERROR": failed, "XPASS": failed, "SKIPPED": skipped}
	return lines(output, func(line string) {
		if m := pytestLine.FindStringSubmatch(line); m != nil {
			note(m[1], result{outcome: outcomes[m[2]]})
		} else if m := pytestWhy.FindStringSubmatch(line); m != nil {
			note(m[1], result{outcome: failed, why: clean(m[2])})
		}
	})
}
