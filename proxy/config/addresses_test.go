package config

import (
	"maps"
	"testing"

	"kproxy/internal/hostport"
)

func TestAddresses(t *testing.T) {
	tests := []struct {
		name       string
		listener   Listener
		slot       int
		bind       string
		advertised string
		bootstrap  string
	}{
		{
			"ports",
			Listener{Bind: "127.0.0.1:9092", Nodes: Nodes{Ports: Range{9100, 9199}}},
			7, "127.0.0.1:9107", "127.0.0.1:9107", "127.0.0.1:9092",
		},
		{
			"advertised host",
			Listener{Bind: ":9092", Advertise: "kafka.example.com:443", Nodes: Nodes{Ports: Range{9100, 9199}}},
			7, ":9107", "kafka.example.com:9107", "kafka.example.com:443",
		},
		{
			"advertised ports",
			Listener{Bind: "[::]:9092", Advertise: "[fd00::1]:443", Nodes: Nodes{Ports: Range{9100, 9199}, AdvertisePorts: Range{30100, 30199}}},
			0, "[::]:9100", "[fd00::1]:30100", "[fd00::1]:443",
		},
		{
			"addresses",
			Listener{Bind: "127.0.0.2:9092", Nodes: Nodes{Addresses: "127.0.1.{slot}:9092", Slots: Range{1, 254}}},
			7, "127.0.1.8:9092", "127.0.1.8:9092", "127.0.0.2:9092",
		},
		{
			"advertised addresses",
			Listener{Bind: "127.0.0.2:9092", Nodes: Nodes{Addresses: "127.0.1.{slot}:9092", AdvertiseAddresses: "b{slot}.example.com:443", Slots: Range{0, 9}}},
			7, "127.0.1.7:9092", "b7.example.com:443", "127.0.0.2:9092",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l, err := newListenerPlan("", &tt.listener)
			if err != nil {
				t.Fatal(err)
			}
			if got := l.BindAddress(tt.slot); got != tt.bind {
				t.Errorf("BindAddress: got %s, want %s", got, tt.bind)
			}
			if got := hostport.Join(l.Advertised(tt.slot)); got != tt.advertised {
				t.Errorf("Advertised: got %s, want %s", got, tt.advertised)
			}
			if got := l.BootstrapAddress(); got != tt.bootstrap {
				t.Errorf("BootstrapAddress: got %s, want %s", got, tt.bootstrap)
			}
		})
	}
}

func TestPinnedSlots(t *testing.T) {
	l := ListenerPlan{Listener: &Listener{Nodes: Nodes{Ports: Range{9100, 9199}, Pin: map[int32]int{1001: 9100, 7: 9150}}}}
	if got, want := l.Layout().Pinned, map[int32]int{1001: 0, 7: 50}; !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
