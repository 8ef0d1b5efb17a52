package proxy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/proxy"
	"kproxy/proxy/config"
)

// describedConfigs is a response about so many topics, and about a broker in front
// of them and behind them, with its addresses.
func describedConfigs(version int16, topics int) *kmsg.DescribeConfigsResponse {
	resp := answerTo(version, kmsg.NewPtrDescribeConfigsResponse())
	add := func(kind kmsg.ConfigResourceType, resource string, configs map[string]string) {
		r := kmsg.NewDescribeConfigsResponseResource()
		r.ResourceType, r.ResourceName = kind, resource
		for name, value := range configs {
			synonym := kmsg.NewDescribeConfigsResponseResourceConfigConfigSynonym()
			synonym.Name, synonym.Value = name, &value
			c := kmsg.NewDescribeConfigsResponseResourceConfig()
			c.Name, c.Value, c.Documentation = name, &value, new("A documentation")
			c.ConfigSynonyms = append(c.ConfigSynonyms, synonym)
			r.Configs = append(r.Configs, c)
		}
		resp.Resources = append(resp.Resources, r)
	}
	broker := map[string]string{"advertised.listeners": "PLAINTEXT://" + brokerName(0)}
	add(kmsg.ConfigResourceTypeBroker, "0", broker)
	for i := range topics {
		add(kmsg.ConfigResourceTypeTopic, fmt.Sprint("topic-", i), map[string]string{"cleanup.policy": strings.Repeat("delete", 100)})
	}
	add(kmsg.ConfigResourceTypeBroker, "0", broker)
	return resp
}

// A client that asks for brokers' settings learns of no address, however long the
// response is, and of everything else: a large one is about topics, and passes.
func TestBrokersSettingsHaveNoAddress(t *testing.T) {
	t.Parallel()
	for _, topics := range []int{0, 1, 100, 1_000, 40_000} {
		for version := range int16(5) {
			if topics == 40_000 && version != 1 && version != 4 {
				continue // some 50 MB
			}
			t.Run(fmt.Sprintf("%d topics, v%d", topics, version), func(t *testing.T) {
				t.Parallel()
				var l lab
				c, s := l.openFiltered(t, config.APIs{Preset: config.ReadOnly}, "")
				c.send(1, of(version, kmsg.NewPtrDescribeConfigsRequest()))
				s.request(kmsg.DescribeConfigs, 1)
				sent := answerFrame(1, describedConfigs(version, topics))
				go func() { _ = s.tryWrite(sent) }()
				got := answerTo(version, kmsg.NewPtrDescribeConfigsResponse())
				frame := c.frame()
				decodeAnswer(t, frame, 1, got)
				held := len(sent) <= 512<<10
				if held == (len(frame) == len(sent)) {
					t.Errorf("%d bytes became %d", len(sent), len(frame))
				}
				if strings.Contains(string(frame), brokerName(0)) {
					t.Error("a broker's name is in it")
				}
				if len(got.Resources) != topics+2 {
					t.Fatalf("resources: got %d, want %d", len(got.Resources), topics+2)
				}
				for _, i := range []int{0, topics + 1} {
					setting := got.Resources[i].Configs[0]
					if setting.Name != "advertised.listeners" || !setting.IsSensitive || held != (setting.Value == nil) {
						t.Errorf("resource %d: got %+v", i, setting)
					}
				}
				if topics > 0 && *got.Resources[topics].Configs[0].Value != strings.Repeat("delete", 100) {
					t.Error("a topic's setting has changed")
				}
				framesAgain(c, s, 2)
				finish(t, &l, c, s)
			})
		}
	}
}

// A long response that contradicts itself ends the session.
func TestLongSettingsThatLie(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.open(t)
	c.send(1, of(4, kmsg.NewPtrDescribeConfigsRequest()))
	s.request(kmsg.DescribeConfigs, 1)
	sent := answerFrame(1, describedConfigs(4, 2_000))
	sent[9+4] = 0xff // more resources than there are
	sent[9+5] |= 0x80
	go func() { _ = s.tryWrite(sent) }()
	go func() { _, _ = c.tryRead(len(sent)) }()
	l.ended(t, proxy.BadAnswer)
}

// Controllers' addresses do not pass either.
func TestQuorumHasNoAddress(t *testing.T) {
	t.Parallel()
	var l lab
	c, s := l.open(t)
	c.send(1, of(2, kmsg.NewPtrDescribeQuorumRequest()))
	s.request(kmsg.DescribeQuorum, 1)
	resp := answerTo(2, kmsg.NewPtrDescribeQuorumResponse())
	resp.Nodes = []kmsg.DescribeQuorumResponseNode{{NodeID: 3000, Listeners: []kmsg.DescribeQuorumResponseNodeListener{{Name: "CONTROLLER", Host: "controller.vpc.invalid", Port: 9093}}}}
	s.answer(1, resp)
	resp.Nodes[0].Listeners = nil
	c.wants("nodes without listeners", answerFrame(1, resp))
	finish(t, &l, c, s)
}
