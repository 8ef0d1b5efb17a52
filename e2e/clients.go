//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"

	"kproxy/e2e/lab"
)

// toolTimeout bounds one run of a client tool, a Java one's start included.
const toolTimeout = 90 * time.Second

// output is a tool's output.
type output struct{ stdout, stderr string }

// Lines are the lines of the standard output.
func (o output) Lines() []string { return strings.Fields(o.stdout) }

// runTool runs a client to its end, which must be exit code 0, without a broker's own
// name in its output.
func runTool(t *testing.T, cmd *exec.Cmd, stdin io.Reader) output {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &stdout, &stderr
	err := lab.Run(cmd)
	out := output{stdout: stdout.String(), stderr: stderr.String()}
	if err != nil {
		t.Fatalf("%v: %v\nstderr: %s\nstdout: %.2000s", cmd.Args, err, out.stderr, out.stdout)
	}
	out.refuseBrokerNames(t)
	return out
}

func (o output) refuseBrokerNames(t *testing.T) {
	t.Helper()
	for name, text := range map[string]string{"stdout": o.stdout, "stderr": o.stderr} {
		for line := range strings.Lines(text) {
			if strings.Contains(line, brokersDomain) {
				t.Errorf("the client got a broker's own name (%s): %s", name, line)
			}
		}
	}
}

// kcat runs kcat through a listener. Its librdkafka settings come first, so
// that args may end in a list of topics.
func kcat(t *testing.T, l listener, stdin io.Reader, args ...string) output {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), toolTimeout)
	defer cancel()
	return runTool(t, kcatCommand(ctx, l, args...), stdin)
}

func kcatCommand(ctx context.Context, l listener, args ...string) *exec.Cmd {
	return lab.Command(ctx, shared.kcat, append([]string{"-b", l.Advertise}, args...)...)
}

// javaTool runs one of Kafka's own tools through a listener.
func javaTool(t *testing.T, client javaClient, l listener, stdin io.Reader, class string, args ...string) output {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), toolTimeout)
	defer cancel()
	return runTool(t, javaCommand(ctx, client, l, class, args...), stdin)
}

func javaCommand(ctx context.Context, client javaClient, l listener, class string, args ...string) *exec.Cmd {
	args = append([]string{"--bootstrap-server", l.Advertise}, args...)
	return shared.java.Tool(ctx, client.classpath, class, args...)
}

// values are n distinct record values, such as "kcat-000042".
func values(prefix string, n int) []string {
	vs := make([]string, n)
	for i := range vs {
		vs[i] = fmt.Sprintf("%s-%06d", prefix, i)
	}
	return vs
}

// lines is values as a tool's standard input.
func lines(values []string) io.Reader { return strings.NewReader(strings.Join(values, "\n") + "\n") }
