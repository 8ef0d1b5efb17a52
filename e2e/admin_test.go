//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"maps"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/e2e/lab"
)

// TestAdminSeesListenersAddresses asks for the brokers by each API that names them.
func TestAdminSeesListenersAddresses(t *testing.T) {
	p := startKproxy(t, shared.kafka.byAddress())
	for _, l := range p.listeners {
		t.Run(l.Name, func(t *testing.T) {
			client := newClient(t, l)
			want := l.Told()
			if got := askMetadata(t, client); !maps.Equal(got, want) {
				t.Errorf("Metadata: got %v, want %v", got, want)
			}
			if got := askDescribeCluster(t, client); !maps.Equal(got, want) {
				t.Errorf("DescribeCluster: got %v, want %v", got, want)
			}
			for node, got := range askFindCoordinator(t, client) { // some of the brokers
				if got != want[node] {
					t.Errorf("FindCoordinator: broker %d: got %s, want %s", node, got, want[node])
				}
			}
		})
	}
}

func askMetadata(t *testing.T, client *kgo.Client) map[int32]string {
	t.Helper()
	resp, err := kmsg.NewPtrMetadataRequest().RequestWith(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	told := make(map[int32]string)
	for _, b := range resp.Brokers {
		told[b.NodeID] = lab.HostPort(b.Host, int(b.Port))
	}
	return told
}

func askDescribeCluster(t *testing.T, client *kgo.Client) map[int32]string {
	t.Helper()
	resp, err := kmsg.NewPtrDescribeClusterRequest().RequestWith(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		t.Fatal(err)
	}
	told := make(map[int32]string)
	for _, b := range resp.Brokers {
		told[b.NodeID] = lab.HostPort(b.Host, int(b.Port))
	}
	return told
}

// askFindCoordinator asks until there is a response: the first request makes the broker
// create the coordinators' own topic.
func askFindCoordinator(t *testing.T, client *kgo.Client) map[int32]string {
	t.Helper()
	req := kmsg.NewPtrFindCoordinatorRequest()
	req.CoordinatorKeys = []string{"a-group", "b-group", "c-group", "d-group"}
	told := make(map[int32]string)
	eventually(t, 30*time.Second, func() error {
		resp, err := req.RequestWith(t.Context(), client)
		if err != nil {
			return err
		}
		for _, c := range resp.Coordinators {
			if err := kerr.ErrorForCode(c.ErrorCode); err != nil {
				return fmt.Errorf("coordinator of %s: %w", c.Key, err)
			}
			told[c.NodeID] = lab.HostPort(c.Host, int(c.Port))
		}
		return nil
	})
	return told
}

// TestNodeEndpointReachesItsOwnBroker asks each endpoint for the configuration of each
// broker. A broker returns its own alone.
func TestNodeEndpointReachesItsOwnBroker(t *testing.T) {
	p := startKproxy(t, shared.kafka.byAddress())
	for _, l := range p.listeners {
		client := newClient(t, l)
		for endpoint := int32(1); endpoint <= brokerCount; endpoint++ {
			for node := int32(1); node <= brokerCount; node++ {
				err := describeBroker(t, client.Broker(int(endpoint)), node)
				if got, want := err == nil, endpoint == node; got != want {
					t.Errorf("%s: configuration of broker %d by the endpoint of node %d: got error %v", l.Name, node, endpoint, err)
				}
			}
		}
	}
}

func describeBroker(t *testing.T, endpoint *kgo.Broker, node int32) error {
	t.Helper()
	req := kmsg.NewPtrDescribeConfigsRequest()
	resource := kmsg.NewDescribeConfigsRequestResource()
	resource.ResourceType = kmsg.ConfigResourceTypeBroker
	resource.ResourceName = strconv.Itoa(int(node))
	resource.ConfigNames = []string{"node.id"}
	req.Resources = append(req.Resources, resource)
	resp, err := req.RequestWith(t.Context(), endpoint)
	if err != nil {
		t.Fatal(err)
	}
	return kerr.ErrorForCode(resp.Resources[0].ErrorCode)
}

// TestBrokerChecksWhoItIs is KIP-1242: a client of Kafka 4.4 names in its ApiVersions the
// broker and the cluster that it expects. So a node's endpoint that leads to another
// broker fails here.
func TestBrokerChecksWhoItIs(t *testing.T) {
	l := startKproxy(t, shared.kafka.byAddress()).Via("fred")
	client := newClient(t, l)
	id, wrong := lab.ClusterID, "AAAAAAAAAAAAAAAAAAAAAA"
	tests := []struct {
		name     string
		cluster  *string
		node     int32
		endpoint int
		want     error
	}{
		{"its own", &id, 2, 2, nil},
		{"no broker yet", nil, -1, 2, nil},
		{"another broker", &id, 2, 3, kerr.RebootstrapRequired},
		{"another cluster", &wrong, 2, 2, kerr.RebootstrapRequired},
		{"half of it", nil, 2, 2, kerr.InvalidRequest},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			req := kmsg.NewPtrApiVersionsRequest()
			req.ClientSoftwareName, req.ClientSoftwareVersion = "kproxy-e2e", "1"
			req.ClusterID, req.NodeID = tt.cluster, tt.node
			resp, err := req.RequestWith(t.Context(), client.Broker(tt.endpoint))
			if err != nil {
				t.Fatal(err)
			}
			if got, want := resp.Version, int16(5); got != want {
				t.Fatalf("ApiVersions version: got %d, want %d", got, want)
			}
			if got := kerr.ErrorForCode(resp.ErrorCode); !errors.Is(got, tt.want) {
				t.Errorf("error: got %v, want %v", got, tt.want)
			}
		})
	}
}
