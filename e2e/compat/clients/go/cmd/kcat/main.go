// Command kcat drives the kcat that is on the PATH, and with it whichever
// librdkafka that was built with: one process for each producer, each member of
// a group and each transaction.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"

	"compatclients/internal/contract"
)

func main() {
	contract.Main(contract.Client{
		Name:        "kcat",
		Version:     version,
		NewProducer: newProducer,
		Consume:     consume,
		Addresses:   addresses,
		Transaction: transaction,
		Admin:       admin,
		Check:       check,
	})
}

func check(o *contract.Options) error {
	switch {
	case o.Work == "consume" && o.Protocol == "share":
		return contract.NotOffered("kcat has no share consumer")
	case o.From != "":
		return contract.NotOffered("kcat sends no offsets to a transaction")
	case o.HandshakeV0: // it asks for ApiVersions even with api.version.request=false
		return contract.NotOffered("librdkafka takes the newest SaslHandshake that the broker has")
	}
	return nil
}

// version is the line of kcat -V that names kcat and librdkafka.
func version(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "kcat", "-V").CombinedOutput()
	if err != nil {
		return "", err
	}
	found := regexp.MustCompile(`Version (\S+) .*librdkafka ([^ )]+)`).FindSubmatch(out)
	if found == nil {
		return "", fmt.Errorf("kcat -V: no version in %q", out)
	}
	return fmt.Sprintf("%s (librdkafka %s)", found[1], found[2]), nil
}

// flags are those of every mode.
func flags(o *contract.Options, more ...string) []string {
	f := []string{"-b", o.Bootstrap, "-X", "client.id=kcat", "-X", "reconnect.backoff.max.ms=1000"}
	if o.BrokerVersion != "" {
		f = append(f, "-X", "broker.version.fallback="+o.BrokerVersion)
	}
	if o.SASL() {
		f = append(f, "-X", "security.protocol="+o.Security, "-X", "sasl.mechanism="+o.Mechanism)
		if o.Mechanism == "OAUTHBEARER" { // librdkafka makes the unsecured token itself
			f = append(f, "-X", "enable.sasl.oauthbearer.unsecure.jwt=true",
				"-X", "sasl.oauthbearer.config=principal="+o.Username)
		} else {
			f = append(f, "-X", "sasl.username="+o.Username, "-X", "sasl.password="+o.Password)
		}
	}
	return append(f, more...)
}

// metadata is the output of kcat -L -J.
type metadata struct {
	Controller int `json:"controllerid"`
	Brokers    []struct {
		Name string `json:"name"` // host:port
	} `json:"brokers"`
	Topics []struct {
		Topic      string     `json:"topic"`
		Partitions []struct{} `json:"partitions"`
	} `json:"topics"`
}

// list asks for the metadata; a refused login is its error.
func list(ctx context.Context, o *contract.Options) (metadata, error) {
	var m metadata
	var stderr strings.Builder
	cmd := exec.CommandContext(ctx, "kcat", flags(o, "-L", "-J", "-m", "5")...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return m, errors.Join(why(stderr.String()), err)
	}
	return m, json.Unmarshal(out, &m)
}

// why is the most useful line of kcat's errors.
func why(stderr string) error {
	lines := strings.Split(strings.TrimSpace(stderr), "\n")
	for _, line := range lines {
		switch {
		case strings.Contains(line, "No such configuration property"):
			return contract.NotOffered(line)
		case strings.Contains(line, "SASL authentication error"), strings.Contains(line, "nsupported"):
			return errors.New(line)
		}
	}
	return errors.New(lines[len(lines)-1])
}

func addresses(ctx context.Context, o *contract.Options, r *contract.Result) error {
	m, err := list(ctx, o)
	for _, b := range m.Brokers {
		r.Address(b.Name)
	}
	return err
}

func admin(ctx context.Context, o *contract.Options, r *contract.Result) error {
	if _, err := list(ctx, o); err != nil {
		return err
	}
	s := contract.NewSteps(ctx, r)
	s.Look("describe_cluster", func() (string, error) {
		m, err := list(ctx, o)
		return fmt.Sprintf("%d brokers, controller %d", len(m.Brokers), m.Controller), err
	})
	s.Look("list_topics", func() (string, error) {
		m, err := list(ctx, o)
		return fmt.Sprint(len(m.Topics)), err
	})
	for _, name := range []string{
		"create_topic", "describe_topic", "alter_config", "describe_configs", "add_partitions", "added_partitions",
		"list_groups", "describe_group", "metadata_quorum", "delete_topic",
	} {
		s.NotOffered(name, "kcat lists metadata only")
	}
	return s.Err()
}
