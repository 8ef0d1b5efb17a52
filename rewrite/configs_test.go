package rewrite

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/wire"
)

// addresses are settings of brokers that hold an address.
var addresses = []string{
	"listeners", "advertised.listeners", "controller.quorum.voters", "controller.quorum.bootstrap.servers",
	"zookeeper.connect", "host.name", "port", "advertised.host.name", "advertised.port",
	"listener.name.external.advertised.listeners", "listener.name.internal.listeners",
	"confluent.metrics.reporter.bootstrap.servers", "rlmm.config.remote.log.metadata.common.client.bootstrap.servers",
	"kafka.rest.advertised.listeners", "confluent.http.server.listeners", "kafka.rest.zookeeper.connect",
}

// noAddresses are settings whose names are like those.
var noAddresses = []string{
	"broker.id", "early.start.listeners", "listener.security.protocol.map", "inter.broker.listener.name", "control.plane.listener.name",
	"listener.name.external.ssl.keystore.location", "listener.name.listeners", "listener.name.", "broker.rack", "advertised.listeners.x",
	"", "report", "zookeeper.connection.timeout.ms", "LISTENERS", "follower.replication.throttled.replicas",
}

const secretAddress = "PLAINTEXT://" + leaked + "0.vpc.invalid:9092"

// described is a response about a broker, a topic, an unknown broker, and another broker,
// with these settings, and tags in every possible place.
func described(version int16, names ...string) *kmsg.DescribeConfigsResponse {
	resp := newResponse(32, version).(*kmsg.DescribeConfigsResponse)
	resp.ThrottleMillis = 7
	for i, kind := range []kmsg.ConfigResourceType{kmsg.ConfigResourceTypeBroker, kmsg.ConfigResourceTypeTopic, kmsg.ConfigResourceTypeBroker, kmsg.ConfigResourceTypeBroker} {
		r := kmsg.NewDescribeConfigsResponseResource()
		r.ResourceType, r.ResourceName = kind, string(rune('0'+i))
		setTags(&r, tag{9, []byte("nine")})
		switch {
		case i == 2:
			r.ErrorCode, r.ErrorMessage = 40, new("no such broker")
		case kind == kmsg.ConfigResourceTypeTopic:
			r.Configs = append(r.Configs, config("cleanup.policy", "delete"), config("retention.ms", strings.Repeat("9", 200)))
		default:
			for _, name := range names {
				r.Configs = append(r.Configs, config(name, secretAddress), config("between", "value"))
			}
		}
		resp.Resources = append(resp.Resources, r)
	}
	setTags(resp, tag{30, []byte("thirty")})
	return resp
}

func config(name, value string) kmsg.DescribeConfigsResponseResourceConfig {
	c := kmsg.NewDescribeConfigsResponseResourceConfig()
	c.Name, c.Value, c.Source, c.ReadOnly = name, &value, 4, true
	c.ConfigType, c.Documentation = 7, new("Such as PLAINTEXT://myhost:9092.")
	for i, synonym := range []string{name, "other"} {
		s := kmsg.NewDescribeConfigsResponseResourceConfigConfigSynonym()
		s.Name, s.Value, s.Source = synonym, &value, kmsg.ConfigSource(i+1)
		setTags(&s, tag{3, []byte("three")})
		c.ConfigSynonyms = append(c.ConfigSynonyms, s)
	}
	none := kmsg.NewDescribeConfigsResponseResourceConfigConfigSynonym()
	none.Name = name
	c.ConfigSynonyms = append(c.ConfigSynonyms, none)
	setTags(&c, tag{12, nil})
	return c
}

// withoutAddresses is the response that a client is to get.
func withoutAddresses(resp *kmsg.DescribeConfigsResponse, fixed bool) *kmsg.DescribeConfigsResponse {
	var hidden *string
	if fixed {
		hidden = new(strings.Repeat("*", len(secretAddress)))
	}
	for i := range resp.Resources {
		for j := range resp.Resources[i].Configs {
			c := &resp.Resources[i].Configs[j]
			if !slices.Contains(addresses, c.Name) {
				continue
			}
			c.Value, c.IsSensitive = hidden, true
			for k := range c.ConfigSynonyms[:2] {
				c.ConfigSynonyms[k].Value = hidden
			}
		}
	}
	return resp
}

// configsOf passes a response to Configs of which piece more bytes arrive at each turn.
func configsOf(tb testing.TB, version int16, payload []byte, fixed bool, piece int) []byte {
	tb.Helper()
	out, err := tryConfigs(version, payload, fixed, piece)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

func tryConfigs(version int16, payload []byte, fixed bool, piece int) (out []byte, err error) {
	var c Configs
	c.Start(version, len(payload), fixed)
	at, have := 0, 0
	for !c.Done() {
		n, changed, err := c.Next(payload[at:max(have, at)])
		switch {
		case errors.Is(err, wire.ErrShort) && have < len(payload):
			have = min(max(have, at)+piece, len(payload))
			continue
		case err != nil:
			return nil, err
		case changed != nil:
			out = append(out, changed...)
		default:
			out = append(out, payload[at:at+n]...)
		}
		at += n
	}
	if c.Left() != len(payload)-at {
		panic("Left is wrong")
	}
	return append(out, payload[at:]...), nil
}

// The values of settings that hold addresses are withheld, and no other byte
// changes; the same in pieces of any size.
func TestConfigs(t *testing.T) {
	for version := range int16(5) {
		for _, header := range [][]byte{{0}, headerTags} {
			names := slices.Concat(addresses, noAddresses)
			payload := encode(described(version, names...), header)
			untouched := bytes.Clone(payload)
			for _, fixed := range []bool{false, true} {
				want := encode(withoutAddresses(described(version, names...), fixed), header)
				if fixed != (len(want) == len(payload)) {
					t.Fatalf("v%d, fixed %t: %d bytes become %d", version, fixed, len(payload), len(want))
				}
				for _, piece := range []int{1, 7, 1000, len(payload)} {
					if got := configsOf(t, version, payload, fixed, piece); !bytes.Equal(got, want) {
						t.Fatalf("v%d, fixed %t, %d bytes at a time:\ngot  %q\nwant %q", version, fixed, piece, head(got), head(want))
					}
				}
			}
			out, notes, err := (&Rewriter{}).Whole(32, version, payload)
			want := encode(withoutAddresses(described(version, names...), false), header)
			if err != nil || notes.Named != 0 || !bytes.Equal(out, want) {
				t.Errorf("v%d: got %q, %+v, %v, want %q", version, head(out), notes, err, head(want))
			}
			if !bytes.Equal(payload, untouched) {
				t.Errorf("v%d: the input was changed", version)
			}
		}
	}
}

// Values without an address stay, null lists and null values too.
func TestConfigsWithoutAddresses(t *testing.T) {
	for version := range int16(5) {
		resp := newResponse(32, version).(*kmsg.DescribeConfigsResponse)
		for _, payload := range [][]byte{encode(resp, []byte{0}), encode(&kmsg.DescribeConfigsResponse{Version: version, Resources: []kmsg.DescribeConfigsResponseResource{
			{ResourceType: 2, ResourceName: "t"}, {ResourceType: 4, Configs: []kmsg.DescribeConfigsResponseResourceConfig{{Name: "listeners"}, {Name: "x", Value: new("y")}}},
		}}, []byte{0})} {
			out, _, err := (&Rewriter{}).Whole(32, version, payload)
			if err != nil || !same(out, payload) {
				t.Errorf("v%d: got % x, %v, want % x itself", version, out, err, payload)
			}
		}
	}
}

// A response that ends early is an error, and not ErrShort.
func TestConfigsTruncated(t *testing.T) {
	for version := range int16(5) {
		payload := encode(described(version, "listeners", "x"), []byte{0})
		end := len(payload)
		if version == 4 { // tags of the whole are not examined
			end -= len(encode(newResponse(32, 4), nil)) - 4 - 1
			end -= len("\x1e\x06thirty")
		}
		for n := range payload[:end] {
			if _, err := tryConfigs(version, payload[:n:n], n%2 == 0, 100); err == nil || errors.Is(err, wire.ErrShort) {
				t.Fatalf("v%d, %d bytes of %d: %v", version, n, len(payload), err)
			}
		}
	}
}

// Counts that are too large for the bytes behind them take no time and no memory.
func TestConfigsBelieveNoCount(t *testing.T) {
	for version, payload := range map[int16]string{
		0: "\x00\x00\x00\x00\x7f\xff\xff\xff",
		1: "\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\xff\xff\x04\x00\x010\x7f\xff\xff\xff",
		4: "\x00\x00\x00\x00\x00\xff\xff\xff\xff\x0f\x00\x00\x00\x04\x02\x30\xff\xff\xff\xff\x0f",
	} {
		if _, err := tryConfigs(version, []byte(payload), false, 1); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("v%d: got %v, want ErrMalformed", version, err)
		}
	}
}

func FuzzConfigs(f *testing.F) {
	for version := range int16(5) {
		f.Add(uint8(version), encode(described(version, "listeners", "x"), []byte{0}), uint16(100))
	}
	f.Fuzz(func(t *testing.T, version uint8, payload []byte, piece uint16) {
		v := int16(version % 5)
		whole, _, err := (&Rewriter{}).Whole(32, v, payload)
		fixed, fixedErr := tryConfigs(v, payload, true, int(piece)+1)
		if (err == nil) != (fixedErr == nil) {
			t.Fatalf("whole: %v, in pieces: %v", err, fixedErr)
		}
		if err == nil && len(fixed) != len(payload) {
			t.Fatalf("%d bytes become %d", len(payload), len(fixed))
		}
		resp, ok := canonical(32, v, payload)
		if !ok {
			return
		}
		if err != nil {
			t.Fatalf("kmsg reads it: %v", err)
		}
		got := decode(t, 32, v, whole).(*kmsg.DescribeConfigsResponse)
		for i, r := range resp.(*kmsg.DescribeConfigsResponse).Resources {
			for j, c := range r.Configs {
				if g := got.Resources[i].Configs[j]; holdsAddress([]byte(c.Name)) && c.Value != nil && (g.Value != nil || !g.IsSensitive) {
					t.Errorf("%s: got %+v", c.Name, g)
				}
			}
		}
	})
}

// quorum is a response with the addresses of controllers.
func quorum(version int16, listeners bool) *kmsg.DescribeQuorumResponse {
	resp := newResponse(55, version).(*kmsg.DescribeQuorumResponse)
	partition := kmsg.NewDescribeQuorumResponseTopicPartition()
	partition.CurrentVoters = []kmsg.DescribeQuorumResponseTopicPartitionReplicaState{{ReplicaID: 3000, LogEndOffset: 9}}
	topic := kmsg.NewDescribeQuorumResponseTopic()
	topic.Topic = "__cluster_metadata"
	topic.Partitions = append(topic.Partitions, partition)
	resp.Topics = append(resp.Topics, topic)
	for id := range int32(3) {
		node := kmsg.NewDescribeQuorumResponseNode()
		node.NodeID = id
		if listeners {
			l := kmsg.NewDescribeQuorumResponseNodeListener()
			l.Name, l.Host, l.Port = "CONTROLLER", brokerHost(int(id)), 9093
			node.Listeners = append(node.Listeners, l, l)
		}
		setTags(&node, tag{4, []byte("four")})
		resp.Nodes = append(resp.Nodes, node)
	}
	setTags(resp, tag{30, []byte("thirty")})
	return resp
}

func TestDescribeQuorum(t *testing.T) {
	for version := range int16(3) {
		for _, header := range [][]byte{{0}, headerTags} {
			out, _, err := (&Rewriter{}).Whole(55, version, encode(quorum(version, true), header))
			if want := encode(quorum(version, false), header); err != nil || !bytes.Equal(out, want) {
				t.Errorf("v%d: got %q, %v, want %q", version, out, err, want)
			}
		}
	}
}
