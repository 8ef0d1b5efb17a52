package connect

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/doctor"
	"kproxy/internal/portlab"
	"kproxy/internal/wire"
)

// respond makes a scripted broker's response: the bytes behind its correlation id; nil:
// it closes.
type respond func(key kmsg.Key, version int16) kmsg.Response

// byHand is a broker that responds by respond. It responds to ApiVersions v0 as a broker.
func byHand(t *testing.T, respond respond) (address string) {
	t.Helper()
	return serving(t, func(c net.Conn) {
		for {
			key, version, correlation, err := nextRequest(c)
			if err != nil {
				return
			}
			var resp kmsg.Response
			if key == kmsg.ApiVersions && version == 0 {
				resp = aBrokersVersions()
			} else if resp = respond(key, version); resp == nil {
				return
			}
			resp.SetVersion(version)
			payload := resp.AppendTo(nil)
			if _, err := c.Write(append(wire.AppendResponsePrefix(nil, correlation, len(payload)), payload...)); err != nil {
				return
			}
		}
	})
}

// nextRequest reads a request, and drops its content.
func nextRequest(c net.Conn) (key kmsg.Key, version int16, correlation int32, err error) {
	var prefix [12]byte // size, key, version, correlation id
	if _, err = io.ReadFull(c, prefix[:]); err != nil {
		return 0, 0, 0, err
	}
	_, err = io.CopyN(io.Discard, c, int64(wire.Size(prefix[:]))-8)
	return kmsg.Key(prefix[5]), int16(prefix[7]), wire.CorrelationID(prefix[4:]), err
}

func aBrokersVersions() kmsg.Response {
	resp := kmsg.NewPtrApiVersionsResponse()
	for _, key := range []kmsg.Key{kmsg.Produce, kmsg.Fetch, kmsg.Metadata, kmsg.ApiVersions, kmsg.DescribeConfigs} {
		k := kmsg.NewApiVersionsResponseApiKey()
		k.ApiKey, k.MaxVersion = key.Int16(), 3
		resp.ApiKeys = append(resp.ApiKeys, k)
	}
	return resp
}

// naming responds to Metadata with brokers, and closes at anything else.
func naming(brokers func() []Broker) respond {
	return func(key kmsg.Key, _ int16) kmsg.Response {
		if key != kmsg.Metadata {
			return nil
		}
		resp := kmsg.NewPtrMetadataResponse()
		for _, b := range brokers() {
			one := kmsg.NewMetadataResponseBroker()
			one.NodeID, one.Host, one.Port = b.Node, b.Host, b.Port
			resp.Brokers = append(resp.Brokers, one)
		}
		id := "by-hand"
		resp.ClusterID = &id
		return resp
	}
}

// A cluster that names thousands of brokers costs no more time than one of a hundred, whose
// addresses are tried. It is not reported as sound.
func TestExamineThousandsOfBrokers(t *testing.T) {
	closed := portlab.Closed(t)
	_, port, _ := net.SplitHostPort(closed)
	for name, host := range map[string]func(n int) string{
		"each its own address": func(n int) string { return fmt.Sprintf("127.%d.%d.%d", 1+n/65025, n/255%255, 1+n%255) },
		"all the same":         func(int) string { return "127.0.0.1" },
	} {
		t.Run(name, func(t *testing.T) {
			const many = 20000
			var all []Broker
			for n := range int32(many) {
				var number int32
				_, _ = fmt.Sscan(port, &number)
				all = append(all, Broker{Node: n, Host: host(int(n)), Port: number})
			}
			o, _ := options(t, byHand(t, naming(func() []Broker { return all })))
			start := time.Now()
			r, words := examined(t, o)
			if took := time.Since(start); took > examineTime+2*time.Second {
				t.Errorf("took %v", took)
			}
			if len(words) != 1+maxTried || r.Brokers != many || r.Untried != many-maxTried || r.Sound() {
				t.Errorf("%d findings, %d brokers, %d untried, sound: %t", len(words), r.Brokers, r.Untried, r.Sound())
			}
			if text := strings.Join(r.Unchecked, "\n"); !strings.Contains(text, "the addresses of 19900 more brokers") {
				t.Errorf("unchecked: %s", text)
			}
		})
	}
}

// The end of the context ends an examination at once, whatever the cluster names.
func TestExamineEndsByContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	silent := serving(t, func(c net.Conn) {
		cancel() // the attempt has begun
		_, _ = io.Copy(io.Discard, c)
	})
	host, port, _ := net.SplitHostPort(silent)
	b := Broker{Host: host}
	_, _ = fmt.Sscan(port, &b.Port)
	o, _ := options(t, byHand(t, naming(func() []Broker { return []Broker{b} })))
	start := time.Now()
	if _, err := o.Examine(ctx, doctor.User{Addresses: o.Addresses}, nil); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("took %v", took)
	}
}
