package live

import (
	"slices"
	"strings"
	"testing"

	"kproxy/internal/kfakelab"
	"kproxy/proxy"
	"kproxy/proxy/config"
)

// An address is the listener's own by the form of its nodes, and faults name that form's keys.
func TestOwnAddresses(t *testing.T) {
	const listener = "clusters.c.listeners.l."
	tls := &config.ListenerTLS{Certs: []config.KeyPair{{Cert: "c", Key: "k"}}}
	for _, tt := range []struct {
		nodes      config.Nodes
		tls        *config.ListenerTLS
		key, slots string
		own, other []string
	}{
		{
			config.Nodes{Ports: config.Range{First: 9100, Last: 9101}},
			nil, "nodes.ports", "nodes.ports",
			[]string{"kafka.test:9100", "KAFKA.test.:9101"},
			[]string{"kafka.test:9102", "kafka.test:443", "b0.test:9100", ""},
		},
		{
			config.Nodes{Ports: config.Range{First: 9100, Last: 9101}, AdvertisePorts: config.Range{First: 9200, Last: 9201}},
			nil, "nodes.advertise_ports", "nodes.ports",
			[]string{"kafka.test:9201"},
			[]string{"kafka.test:9100"},
		},
		{
			config.Nodes{Addresses: "127.0.1.{slot}:9092", Slots: config.Range{First: 1, Last: 2}},
			nil, "nodes.addresses", "nodes.slots",
			[]string{"127.0.1.2:9092"},
			[]string{"127.0.1.3:9092"},
		},
		{
			config.Nodes{Addresses: "127.0.1.{slot}:9092", AdvertiseAddresses: "b{slot}.test:9092", Slots: config.Range{First: 1, Last: 2}},
			nil, "nodes.advertise_addresses", "nodes.slots",
			[]string{"b1.test:9092"},
			[]string{"127.0.1.1:9092"},
		},
		{
			config.Nodes{SNI: "b{node}.kafka.test:443"},
			tls, "nodes.sni", "",
			[]string{"b0.kafka.test:443", "B7.kafka.test.:443"},
			[]string{"b0.kafka.test:9093", "b07.kafka.test:443", "kafka.test:443", "b0.kafka.test"},
		},
	} {
		l := newLab(t, "b0.internal:9092")
		l.listener().Advertise, l.listener().Nodes, l.listener().TLS = "kafka.test:443", tt.nodes, tt.tls
		plan, err := l.conf.Compile()
		if err != nil {
			t.Fatal(err)
		}
		c := &listenerCheck{conf: plan.Clusters[0].Listeners[0]}
		c.advertisedSlots()
		if got := c.nodesKey(); got != listener+tt.key {
			t.Errorf("%s: the key %s", tt.key, got)
		}
		if got, _ := c.rangeKey(); tt.slots != "" && got != listener+tt.slots {
			t.Errorf("%s: the range is at %s", tt.key, got)
		}
		for _, address := range tt.own {
			if !c.isOwn(address) {
				t.Errorf("%s: %s is not its own", tt.key, address)
			}
		}
		for _, address := range tt.other {
			if c.isOwn(address) {
				t.Errorf("%s: %s is its own", tt.key, address)
			}
		}
	}
}

// While no cluster responds, kproxy is not ready, and a Service leads no client to it: the refused
// connection follows from the fault of the cluster. It is a fault of its own where a cluster responds.
func TestUnreadyFollows(t *testing.T) {
	t.Parallel()
	check := func(l *lab) (*Report, []string) {
		r, err := Check(t.Context(), &Options{Config: &proxy.Config{Config: l.conf}, Served: true})
		if err != nil {
			t.Fatal(err)
		}
		return r, faultsOf(t, r)
	}
	l := newLab(t, "b0.vpc.invalid:9092")
	r, faults := check(l)
	text := show(r)
	if !slices.Equal(faults, []string{"clusters.c.bootstrap[0] name_unknown"}) || !strings.Contains(text, "kproxy is not ready before a cluster responds") || strings.Contains(text, "this machine") {
		t.Errorf("%q\n%s", faults, text)
	}
	good := l.served().conf.Clusters[0]
	good.Name, good.Bootstrap = "cc", kfakelab.Start(t, 1, kfakelab.Real).At
	good.Listeners = slices.Clone(good.Listeners)
	good.Listeners[0].Bind, good.Listeners[0].Nodes.Ports = l.at(9192), config.Range{First: 9200, Last: 9209}
	l.conf.Clusters = append(l.conf.Clusters, good)
	r, faults = check(l)
	want := []string{"clusters.c.bootstrap[0] name_unknown", "clusters.c.listeners.l.bind refused", "clusters.cc.listeners.l.bind refused"}
	if text := show(r); !slices.Equal(faults, want) || !strings.Contains(text, "on kproxy's machine") {
		t.Errorf("got %q, want %q\n%s", faults, want, show(r))
	}
}
