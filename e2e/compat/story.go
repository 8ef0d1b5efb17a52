//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"kproxy/e2e/lab"
)

// together is the column of works with several clients: kcat -L and the console
// tools, or all clients of the matrix.
var together = &client{name: "several"}

// station is the network of a client, and its bootstrap address.
type station struct {
	who       string
	place     *lab.Namespace
	bootstrap string
	// told are the addresses that kproxy advertises there for each broker.
	told func(id int) string
}

func (p *places) stations() []station {
	at := func(host string, first int) func(int) string {
		return func(id int) string { return lab.HostPort(host, first+id) }
	}
	return []station{
		{"BOB", p.docker, bob, at("kproxy", 19092)},
		{"FRED", p.vpc, fred, at("localhost", 19092)},
		{"ALICE", p.outside, alice, at("never-gonna-give-you-up", 29094)},
	}
}

func (r *releaseRun) runNetworks(ctx context.Context, cells []*cell) error {
	for _, c := range cells {
		if c.work.networks == nil {
			continue
		}
		err := c.work.networks(ctx, r)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		c.why = strings.Join(r.notes, "; ")
		r.notes = nil
		if err != nil {
			c.outcome, c.why = failed, strings.Join(append([]string{err.Error()}, c.why), "; ")
		}
		r.done(c)
	}
	return nil
}

// threeNetworks gives BOB, FRED and ALICE addresses that work in their networks, and no
// others.
func threeNetworks(ctx context.Context, r *releaseRun) error {
	if err := r.places.leadAstray(false); err != nil {
		return err
	}
	stations := r.places.stations()
	var errs []error
	for _, s := range stations {
		got, err := r.listBrokers(ctx, s.place, s.bootstrap)
		want := make(map[int]string)
		for id := 1; id <= clusterSize; id++ {
			want[id] = s.told(id)
		}
		if err == nil && !maps.Equal(got, want) {
			err = fmt.Errorf("kcat -L says %v, want %v", got, want)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", s.who, err))
		}
	}
	for i, s := range stations {
		reader := stations[(i+1)%len(stations)]
		if err := r.console(ctx, "networks-"+strings.ToLower(s.who), s, reader); err != nil {
			errs = append(errs, fmt.Errorf("%s to %s: %w", s.who, reader.who, err))
		}
	}
	return errors.Join(append(errs, r.places.leadAstray(true))...)
}

// cloudStory is a client outside of a VPC: without kproxy, through a port that leads to a
// broker, it fails; with kproxy it works, whether all clients get the outside name
// (option 1) or those inside keep the brokers' own (option 2).
func cloudStory(ctx context.Context, r *releaseRun) error {
	if err := r.places.leadAstray(false); err != nil {
		return err
	}
	stop, err := r.places.forward(outsideKproxy+":9092", lab.HostPort(brokerAddress(1), plainPort))
	if err != nil {
		return err
	}
	defer stop()
	outside := r.places.stations()[2]
	without := station{who: "without kproxy", place: r.places.outside, bootstrap: outsideKproxy + ":9092"}
	var errs []error
	said, err := r.kcatProduce(ctx, without, "cloud-without")
	switch {
	case err == nil:
		errs = append(errs, errors.New("without kproxy a client outside of the VPC should not work, and it did"))
	case !strings.Contains(said, brokersDomain):
		errs = append(errs, fmt.Errorf("without kproxy kcat fails, and not for the broker's name: %s", said))
	}
	inside := station{"inside, option 1", r.places.vpc, alice, outside.told}
	if err := r.console(ctx, "cloud-option-1", inside, outside); err != nil {
		errs = append(errs, fmt.Errorf("option 1: %w", err))
	}
	own := station{who: "inside, option 2", place: r.places.vpc, bootstrap: lab.HostPort(brokerName(1), plainPort)}
	if err := r.console(ctx, "cloud-option-2", own, outside); err != nil {
		errs = append(errs, fmt.Errorf("option 2: %w", err))
	}
	return errors.Join(append(errs, r.places.leadAstray(true))...)
}

// listBrokers is the list of brokers by kcat -L.
func (r *releaseRun) listBrokers(ctx context.Context, place *lab.Namespace, bootstrap string) (map[int]string, error) {
	out, err := place.Command(lab.Command(ctx, "kcat", "-b", bootstrap, "-L", "-J", "-m", "15")).Output()
	if err != nil {
		return nil, fmt.Errorf("kcat -L -b %s: %w", bootstrap, err)
	}
	var response struct {
		Brokers []struct {
			ID   int
			Name string
		}
	}
	if err := json.Unmarshal(out, &response); err != nil {
		return nil, err
	}
	got := make(map[int]string)
	for _, b := range response.Brokers {
		got[b.ID] = b.Name
	}
	return got, nil
}

const consoleRecords = 100

// kcatProduce writes a record to a topic that it makes.
func (r *releaseRun) kcatProduce(ctx context.Context, s station, topic string) (said string, err error) {
	if err := r.cluster.NewTopic(ctx, 3, nil, topic); err != nil {
		return "", err
	}
	cmd := s.place.Command(lab.Command(ctx, "kcat", "-b", s.bootstrap, "-P", "-t", topic, "-X", "message.timeout.ms=8000"))
	cmd.Stdin = strings.NewReader("one\n")
	return lab.Output(cmd)
}

// console writes with the console producer at one station and reads with the
// console consumer at another.
func (r *releaseRun) console(ctx context.Context, topic string, from, to station) error {
	if err := r.cluster.NewTopic(ctx, 3, nil, topic); err != nil {
		return err
	}
	var want []string
	for i := range consoleRecords {
		want = append(want, fmt.Sprintf("%s-%03d", topic, i))
	}
	bootstrap := "--bootstrap-server"
	if !r.cluster.Release.AtLeast("2.5") {
		bootstrap = "--broker-list"
	}
	_, err := r.tool(ctx, from.place, r.toolClass("ConsoleProducer"), strings.NewReader(strings.Join(want, "\n")+"\n"),
		bootstrap, from.bootstrap, "--topic", topic)
	if err != nil {
		return err
	}
	out, err := r.tool(ctx, to.place, r.toolClass("ConsoleConsumer"), nil, "--bootstrap-server", to.bootstrap, "--topic", topic,
		"--from-beginning", "--max-messages", fmt.Sprint(consoleRecords), "--timeout-ms", "30000")
	if err != nil {
		return err
	}
	got := strings.Fields(out)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		return fmt.Errorf("%d records read, %d written", len(got), len(want))
	}
	return nil
}

// toolClass is the class of a tool in a release: tools have moved from Scala to Java.
func (r *releaseRun) toolClass(name string) string {
	switch release := r.cluster.Release; {
	case name == "ConsoleConsumer" && release.AtLeast("3.8"):
		return "org.apache.kafka.tools.consumer.ConsoleConsumer"
	case name == "ConsoleProducer" && release.AtLeast("4.0"):
		return "org.apache.kafka.tools.ConsoleProducer"
	default:
		return "kafka.tools." + name
	}
}

// tool runs one of Kafka's tools, of the brokers' own release where that was published.
// Its output must not have a broker's own address, unless it runs beside the brokers.
func (r *releaseRun) tool(ctx context.Context, place *lab.Namespace, class string, stdin io.Reader, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	classpath := r.cluster.Release.Classpath
	if r.cluster.Release.Version == lab.Newest {
		classpath = r.cluster.Release.Client + ":" + r.build.tools
	}
	cmd := place.Command(r.build.java.Tool(ctx, classpath, class, args...))
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &stdout, &stderr
	if err := lab.Run(cmd); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", class, err, tail(stderr.String()))
	}
	if place != r.places.vpc {
		if err := refuseBrokerWords(stdout.String(), stderr.String()); err != nil {
			return "", err
		}
	}
	return stdout.String(), nil
}

// forward makes an address in vpc lead to another, as a blind proxy does.
func (p *places) forward(from, to string) (stop func(), err error) {
	var l net.Listener
	err = p.vpc.Inside(func() (err error) {
		l, err = net.Listen("tcp", from) //nolint:noctx // closed by stop
		return err
	})
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go p.relay(client, to)
		}
	}()
	return func() { l.Close() }, nil
}

func (p *places) relay(client net.Conn, to string) {
	defer client.Close()
	broker, err := p.vpc.Dial(context.Background(), "tcp", to)
	if err != nil {
		return
	}
	defer broker.Close()
	go func() {
		_, _ = io.Copy(broker, client)
		_ = broker.Close()
	}()
	_, _ = io.Copy(client, broker)
}
