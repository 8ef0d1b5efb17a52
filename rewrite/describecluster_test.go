package rewrite

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const describeClusterMax = 2

// cluster is a response that names brokers, every third one fenced, with tags in every
// possible place.
func cluster(version int16, brokers ...Broker) *kmsg.DescribeClusterResponse {
	resp := newResponse(60, version).(*kmsg.DescribeClusterResponse)
	resp.ThrottleMillis = 5
	resp.ClusterID = "MkU3OEVBNTcwNTJENDM2Qk"
	resp.ControllerID = 2
	resp.ClusterAuthorizedOperations = -1 << 31
	for i, b := range brokers {
		broker := addBroker(resp, b, []*string{nil, new(""), new("r")}[i%3]).(*kmsg.DescribeClusterResponseBroker)
		broker.IsFenced = i%3 == 2
		setTags(broker, tag{8, []byte("eight")})
	}
	setTags(resp, tag{4, []byte("four")})
	return resp
}

func someBrokers(n int) []Broker {
	all := make([]Broker, n)
	for i := range all {
		all[i] = Broker{Node: int32(i), Host: brokerHost(i), Port: 9092}
	}
	return all
}

func TestDescribeCluster(t *testing.T) {
	for version := range int16(describeClusterMax + 1) {
		for _, n := range []int{1, 3, 300} {
			for _, drop := range [][]int32{nil, {0}, {1, 2}} {
				for _, header := range [][]byte{{0}, headerTags} {
					name := fmt.Sprintf("v%d, %d brokers without %v", version, n, drop)
					r := telling("proxy.example", drop...)
					payload := encode(cluster(version, someBrokers(n)...), header)
					out, notes, err := r.Whole(60, version, payload)
					dropped := min(len(drop), n)
					if n == 1 && len(drop) == 2 {
						dropped = 0
					}
					if err != nil || notes.Named != n || notes.Dropped != dropped {
						t.Fatalf("%s: notes %+v, %v", name, notes, err)
					}
					want := encode(translated(cluster(version, someBrokers(n)...), r.Translate), header)
					if !bytes.Equal(out, want) {
						t.Fatalf("%s: got %q, want %q", name, head(out), head(want))
					}
				}
			}
		}
	}
}

func TestDescribeClusterTellsTranslate(t *testing.T) {
	for version := range int16(describeClusterMax + 1) {
		calls := 0
		r := &Rewriter{Translate: func(key int16, got Brokers) {
			calls++
			if key != 60 || got.ClusterID != "MkU3OEVBNTcwNTJENDM2Qk" || !slices.Equal(got.List, someBrokers(3)) {
				t.Errorf("v%d: Translate(%d) hears %+v", version, key, got)
			}
		}}
		payload := encode(cluster(version, someBrokers(3)...), headerTags)
		out, _, err := r.Whole(60, version, payload)
		if err != nil || calls != 1 || !bytes.Equal(out, payload) {
			t.Errorf("v%d: %d calls, got %q, %v, want %q: nothing was translated", version, calls, out, err, payload)
		}
	}
}

// Fenced brokers (v2) come with the response's other brokers, and are marked.
func TestDescribeClusterFenced(t *testing.T) {
	payload := encode(cluster(2, someBrokers(3)...), []byte{0})
	out, _, err := telling("proxy.example").Whole(60, 2, payload)
	if err != nil {
		t.Fatal(err)
	}
	for i, b := range decode(t, 60, 2, out).(*kmsg.DescribeClusterResponse).Brokers {
		if got, want := b.IsFenced, i == 2; got != want || b.Host != "proxy.example" {
			t.Errorf("broker %d at %s: fenced %t, want %t", i, b.Host, got, want)
		}
	}
}

// A response that lists controllers does not come from a broker's listener.
func TestDescribeClusterOfControllers(t *testing.T) {
	for version := int16(1); version <= describeClusterMax; version++ {
		for _, endpointType := range []int8{2, 0, -1, 3} {
			resp := cluster(version, someBrokers(3)...)
			resp.EndpointType = endpointType
			out, notes, err := untouchable(t).Whole(60, version, encode(resp, headerTags))
			if err != nil || notes.Named != 3 || notes.Dropped != 3 {
				t.Fatalf("v%d, type %d: notes %+v, %v", version, endpointType, notes, err)
			}
			resp.Brokers = nil
			resp.ErrorCode = kerr.MismatchedEndpointType.Code
			if want := encode(resp, headerTags); !bytes.Equal(out, want) {
				t.Errorf("v%d, type %d: got %q, want %q", version, endpointType, out, want)
			}
		}
	}
}

func TestDescribeClusterNamesNobody(t *testing.T) {
	for version := range int16(describeClusterMax + 1) {
		refused := cluster(version)
		refused.ErrorCode = kerr.ClusterAuthorizationFailed.Code
		refused.ErrorMessage = new("Request is not authorized.")
		controllers := cluster(version)
		controllers.EndpointType = 2
		for _, resp := range []*kmsg.DescribeClusterResponse{cluster(version), refused, controllers} {
			payload := encode(resp, headerTags)
			out, notes, err := untouchable(t).Whole(60, version, payload)
			if err != nil || notes.Named != 0 || !same(out, payload) {
				t.Errorf("v%d: got %q, %+v, %v, want the input", version, out, notes, err)
			}
		}
	}
}
