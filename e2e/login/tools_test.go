//go:build e2e

package login

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"strconv"
	"strings"

	"kproxy/e2e/lab"
	"kproxy/internal/auth"
)

// kcat is Debian's, with librdkafka 2.0.2.
type kcat struct{ *site }

func (k kcat) settings(a *access, more ...string) []string {
	settings := []string{"client.id=" + a.id, "security.protocol=" + a.protocol}
	if a.inTLS() {
		settings = append(settings, "ssl.ca.location="+a.ca)
	}
	switch a.mechanism {
	case "":
	case auth.OAuthBearer:
		settings = append(settings, "sasl.mechanism="+a.mechanism, "enable.sasl.oauthbearer.unsecure.jwt=true", "sasl.oauthbearer.config=principal="+a.user)
	default:
		settings = append(settings, "sasl.mechanism="+a.mechanism, "sasl.username="+a.user, "sasl.password="+a.password)
	}
	args := []string{"-b", a.address}
	for _, s := range settings {
		args = append(args, "-X", s)
	}
	return append(args, more...)
}

func (k kcat) produce(ctx context.Context, a *access, topic string, values <-chan string) error {
	_, err := run(lab.Command(ctx, k.kcat, k.settings(a, "-P", "-t", topic)...), values)
	return err
}

func (k kcat) consume(ctx context.Context, a *access, topic string, n int) ([]string, error) {
	out, err := run(lab.Command(ctx, k.kcat, k.settings(a, "-C", "-t", topic, "-o", "beginning", "-c", strconv.Itoa(n), "-q", "-f", "%s\n")...), nil)
	return strings.Fields(out), err
}

// list is kcat's list of a cluster, and its errors.
func (k kcat) list(ctx context.Context, a *access) (string, error) {
	return run(lab.Command(ctx, k.kcat, k.settings(a, "-L", "-m", "4")...), nil)
}

var refusalText = regexp.MustCompile(`SASL authentication error: (.*) \(after`)

// refusal is the error that kcat gets when it logs in, as soon as it comes.
func (k kcat) refusal(ctx context.Context, a *access) (string, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := lab.Command(ctx, k.kcat, k.settings(a, "-L", "-m", "60")...)
	complaints, err := cmd.StderrPipe()
	if err != nil {
		return "", err
	}
	if err := lab.Start(cmd); err != nil {
		return "", err
	}
	said := ""
	for lines := bufio.NewScanner(complaints); said == "" && lines.Scan(); {
		if m := refusalText.FindStringSubmatch(lines.Text()); m != nil {
			said = m[1]
		}
	}
	cancel()
	if err := cmd.Wait(); said == "" {
		return "", fmt.Errorf("kcat was not refused: %w", cmp.Or(err, errors.New("it was let in")))
	}
	return said, nil
}

// java are the console tools.
type java struct{ *site }

func (j java) tool(ctx context.Context, class string, a *access, properties []string, args ...string) *exec.Cmd {
	properties = append(properties, "client.id="+a.id, "security.protocol="+a.protocol)
	if a.inTLS() {
		properties = append(properties, "ssl.truststore.type=PEM", "ssl.truststore.location="+a.ca)
	}
	const module = "org.apache.kafka.common.security."
	jaas := ""
	switch a.mechanism {
	case "":
	case auth.OAuthBearer:
		jaas = fmt.Sprintf("%soauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub=%q;", module, a.user)
	case auth.Plain:
		jaas = fmt.Sprintf("%splain.PlainLoginModule required username=%q password=%q;", module, a.user, a.password)
	default:
		jaas = fmt.Sprintf("%sscram.ScramLoginModule required username=%q password=%q;", module, a.user, a.password)
	}
	if jaas != "" {
		properties = append(properties, "sasl.mechanism="+a.mechanism, "sasl.jaas.config="+jaas)
	}
	args = append([]string{"--bootstrap-server", a.address}, args...)
	for _, p := range properties {
		args = append(args, "--command-property", p)
	}
	return j.java.Tool(ctx, j.tools, class, args...)
}

func (j java) produce(ctx context.Context, a *access, topic string, values <-chan string) error {
	// The console's own limit is 1.5 s, after which it closes the connection.
	once := []string{"retries=0", "enable.idempotence=false", "acks=all", "linger.ms=5", "request.timeout.ms=30000"}
	_, err := run(j.tool(ctx, "org.apache.kafka.tools.ConsoleProducer", a, once, "--topic", topic), values)
	return err
}

func (j java) consume(ctx context.Context, a *access, topic string, n int) ([]string, error) {
	out, err := run(j.tool(ctx, "org.apache.kafka.tools.consumer.ConsoleConsumer", a, nil, "--topic", topic, "--from-beginning",
		"--max-messages", strconv.Itoa(n), "--timeout-ms", "60000"), nil)
	return strings.Fields(out), err
}

// run runs a tool to its end, with lines for its input. Its error output is in the error.
func run(cmd *exec.Cmd, lines <-chan string) (stdout string, err error) {
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return "", err
	}
	if err := lab.Start(cmd); err != nil {
		return "", err
	}
	if lines != nil {
		for line := range lines {
			_, _ = io.WriteString(stdin, line+"\n") // one that has ended says why
		}
	}
	_ = stdin.Close()
	if err := cmd.Wait(); err != nil {
		return out.String(), fmt.Errorf("%w\n%s", err, complaints.String())
	}
	return out.String(), nil
}

// produceWithin sends a record, and gives up soon.
func (k kcat) produceWithin(ctx context.Context, a *access, topic string) error {
	_, err := run(lab.Command(ctx, k.kcat, k.settings(a, "-P", "-t", topic, "-X", "message.timeout.ms=5000")...), all([]string{"x"}))
	return err
}
