package connect

import (
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/doctor"
	"kproxy/internal/kfakelab"
	"kproxy/internal/portlab"
	"kproxy/internal/via/viatest"
)

// examined is an examination, with a short text for each address: subject, failed step, verdict.
func examined(t *testing.T, o *Options) (r *doctor.Report, words []string) {
	t.Helper()
	r, err := o.Examine(t.Context(), doctor.User{Addresses: o.Addresses, TLS: o.TLS, SASL: o.SASL, Args: o.Addresses}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range r.Findings {
		f := &r.Findings[i]
		word := fmt.Sprintf("%d %s", f.Node, f.Failed)
		if f.Err != nil {
			word += " " + string(f.Verdict)
		}
		if (f.Err == nil) != (f.Failed == doctor.Arrived) || (f.Err == nil) != (f.Fix.Text == "") || (f.Err == nil) != (f.Reason == "") || (f.Err == nil) != (f.Fix.Docs == "") {
			t.Errorf("%s: error %v, fix %+v", word, f.Err, f.Fix)
		}
		words = append(words, word)
	}
	return r, words
}

// behind is a balancer that leads connections to addresses in turn.
func behind(t *testing.T, to ...string) (address string) {
	t.Helper()
	turn := make(chan string, len(to))
	for _, address := range to {
		turn <- address
	}
	return serving(t, func(c net.Conn) {
		next := <-turn
		turn <- next
		broker, err := new(net.Dialer).DialContext(t.Context(), "tcp", next)
		if err != nil {
			return
		}
		defer func() { _ = broker.Close() }()
		go func() { // ends with the connections
			_, _ = io.Copy(broker, c)
			_ = broker.Close()
		}()
		_, _ = io.Copy(c, broker)
	})
}

// serving accepts connections until the test ends, and gives each to serve.
func serving(t *testing.T, serve func(c net.Conn)) (address string) {
	t.Helper()
	return viatest.NewGate(t, serve).Address
}

// The result for a client whose brokers advertise these addresses, and the report.
func TestExamineWhatBrokersAdvertise(t *testing.T) {
	closed := portlab.Closed(t)
	stranger := kfakelab.Start(t, 1, kfakelab.Real, kfake.ClusterID("stranger")).At[0]
	for _, tt := range []struct {
		name      string
		advertise func(at []string) []string
		want      string
	}{
		{"where they are", kfakelab.Real, "-1 arrived, 0 arrived, 1 arrived"},
		{"a name that does not resolve", func(at []string) []string { return []string{at[0], "b1.vpc.invalid:9092"} }, "-1 arrived, 0 arrived, 1 name name_unknown"},
		{"a closed port", func(at []string) []string { return []string{at[0], closed} }, "-1 arrived, 0 arrived, 1 connect refused"},
		{"a wildcard", func(at []string) []string { return []string{at[0], "0.0.0.0:9092"} }, "-1 arrived, 0 arrived, 1 name wildcard"},
		{"each other's", func(at []string) []string { return []string{at[1], at[0]} }, "-1 arrived, 0 itself another_node, 1 itself another_node"},
		{"one for both", func(at []string) []string { return []string{at[0], at[0]} }, "-1 arrived, 0 itself same_address, 1 itself same_address"},
		{"another cluster's", func(at []string) []string { return []string{at[0], stranger} }, "-1 arrived, 0 arrived, 1 itself another_cluster"},
		{"a balancer's", func(at []string) []string { return []string{at[0], behind(t, at[1], at[0])} }, "-1 arrived, 0 arrived, 1 itself load_balancer"},
		{"an SSH server's", func(at []string) []string {
			return []string{at[0], serving(t, func(c net.Conn) {
				_, _ = io.WriteString(c, "SSH-2.0-OpenSSH_9.6\r\n")
				_, _ = io.Copy(io.Discard, c)
			})}
		}, "-1 arrived, 0 arrived, 1 kafka other_service"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o, _ := options(t, kfakelab.Start(t, 2, tt.advertise).At[0])
			r, words := examined(t, o)
			if got := strings.Join(words, ", "); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
			if f := r.Findings[1]; tt.name == "one for both" && (f.Outcome(doctor.Name) != "-" || f.Outcome(doctor.Connect) != "-" || f.Outcome(doctor.Kafka) != "-") {
				t.Errorf("steps that were not taken: %v", f.Taken)
			}
			if tt.name == "each other's" {
				if f := r.Findings[2]; f.Elsewhere != r.Findings[1].Address || !strings.Contains(r.ConnectCommand(), " --node 1="+f.Elsewhere) || !strings.HasSuffix(f.Fix.Properties[0], f.Elsewhere) {
					t.Errorf("node 1 is where node 0 says that it is: %+v", f)
				}
			}
			if r.Sound() != !strings.Contains(tt.want, "_") && tt.name != "a closed port" && tt.name != "a wildcard" {
				t.Errorf("sound: %t", r.Sound())
			}
		})
	}
}

// A node that fails at its advertised address may be at an address of the user's, and then it
// should advertise that one.
func TestExamineSaysWhatConnectReaches(t *testing.T) {
	at := cluster(t, 3, nil)
	o, _ := options(t, at[2], at[0])
	r, words := examined(t, o)
	if got, want := strings.Join(words, ", "), "-1 arrived, -1 arrived, 0 name name_unknown, 1 name name_unknown, 2 name name_unknown"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	for _, f := range r.Findings[2:] {
		want := map[int32]string{0: at[0], 2: at[2]}[f.Node]
		if f.Connect != want {
			t.Errorf("node %d: connect reaches it at %q, want %q", f.Node, f.Connect, want)
		}
		host := "HOST"
		if want != "" {
			host, _, _ = strings.Cut(want, ":")
		}
		if lines := strings.Join(f.Fix.Properties, "\n"); !strings.Contains(lines, ",EXTERNAL://"+host+":19092\n") {
			t.Errorf("node %d: the lines are\n%s", f.Node, lines)
		}
	}
	if got, want := r.ConnectCommand(), "kproxy connect "+at[2]+" "+at[0]; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// The lines for a broker are made from its own configuration.
func TestExamineReadsListeners(t *testing.T) {
	c := kfakelab.Start(t, 1, kfakelab.All("b0.vpc.invalid:9092"))
	at := c.At
	c.ControlKey(kmsg.DescribeConfigs.Int16(), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		resp := req.ResponseKind().(*kmsg.DescribeConfigsResponse)
		r := kmsg.NewDescribeConfigsResponseResource()
		r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeBroker, "0"
		for name, value := range map[string]string{
			"listeners": "INSIDE://:9092,CONTROLLER://:9093", "advertised.listeners": "INSIDE://b0.vpc.invalid:9092",
			"listener.security.protocol.map": "INSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT,UNUSED:SSL", "controller.listener.names": "CONTROLLER",
		} {
			entry := kmsg.NewDescribeConfigsResponseResourceConfig()
			entry.Name, entry.Value = name, &value
			r.Configs = append(r.Configs, entry)
		}
		resp.Resources = append(resp.Resources, r)
		return resp, nil, true
	})
	o, _ := options(t, at[0])
	r, _ := examined(t, o)
	want := []string{
		"listeners=INSIDE://:9092,CONTROLLER://:9093,EXTERNAL://:19092",
		"advertised.listeners=INSIDE://b0.vpc.invalid:9092,EXTERNAL://127.0.0.1:19092",
		"listener.security.protocol.map=INSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT,EXTERNAL:PLAINTEXT",
	}
	if got := r.Findings[1].Fix.Properties; !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// A broker that replica lists name, and that the cluster does not list, is reported as
// missing.
func TestExamineMissesBrokers(t *testing.T) {
	c := kfakelab.Start(t, 2, kfakelab.Real, kfake.SeedTopics(1, "orders"))
	at := c.At
	c.ControlKey(kmsg.Metadata.Int16(), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if m := req.(*kmsg.MetadataRequest); m.Topics != nil || m.Version < 5 {
			return nil, nil, false
		}
		resp := req.ResponseKind().(*kmsg.MetadataResponse)
		topic, partition := kmsg.NewMetadataResponseTopic(), kmsg.NewMetadataResponseTopicPartition()
		partition.Replicas, partition.ISR, partition.OfflineReplicas = []int32{0, 1, 7}, []int32{0}, []int32{7, 8}
		topic.Partitions = append(topic.Partitions, partition)
		resp.Topics = append(resp.Topics, topic)
		return resp, nil, true
	})
	// A balancer leads to a broker that responds, and then to one that is down.
	var connections atomic.Int32
	balancer := serving(t, func(c net.Conn) {
		if connections.Add(1) > 1 {
			return
		}
		broker, err := new(net.Dialer).DialContext(t.Context(), "tcp", at[0])
		if err != nil {
			return
		}
		defer func() { _ = broker.Close() }()
		go func() { // ends with the connections
			_, _ = io.Copy(broker, c)
			_ = broker.Close()
		}()
		_, _ = io.Copy(c, broker)
	})
	for _, address := range []string{at[0], balancer} {
		o, _ := options(t, address)
		r, words := examined(t, o)
		if got, want := strings.Join(words, ", "), "-1 arrived, 0 arrived, 1 arrived, 7 name missing_broker, 8 name missing_broker"; got != want || r.Sound() {
			t.Errorf("at %s: %s, want %s; sound: %t", address, got, want, r.Sound())
		}
	}
}
