//go:build linux

package main

import (
	"bytes"
	"crypto/tls"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/portlab"
	"kproxy/internal/wire"
)

// The suite's requests and responses are valid Kafka: kmsg decodes them, and their
// content matches the workload.
func TestFramesDecode(t *testing.T) {
	for _, w := range workloads() {
		t.Run(w.Name, func(t *testing.T) {
			frame := requestFrame(w)
			if got := int(wire.Size(frame)); got != len(frame)-wire.SizeLen {
				t.Fatalf("size %d in %d bytes", got, len(frame))
			}
			req, err := decodeRequest(frame)
			if err != nil {
				t.Fatal(err)
			}
			if req.Key() != w.Key || req.GetVersion() != w.Version {
				t.Fatalf("got %d v%d", req.Key(), req.GetVersion())
			}
			resp := decodeResponse(t, req, responseFrame(w))
			switch resp := resp.(type) {
			case *kmsg.FetchResponse:
				checkFetched(t, w, resp)
			case *kmsg.ProduceResponse:
				produced := req.(*kmsg.ProduceRequest).Topics[0].Partitions
				if len(produced) != 1 || len(produced[0].Records) != w.Bytes || len(resp.Topics[0].Partitions) != 1 {
					t.Errorf("got %d partitions of %d bytes, responses %v", len(produced), len(produced[0].Records), resp.Topics)
				}
			case *kmsg.MetadataResponse:
				if got := len(resp.Topics[0].Partitions); got != w.Partitions || resp.Brokers[0].Host != "127.0.0.1" {
					t.Errorf("got %d partitions, brokers %v", got, resp.Brokers)
				}
			case *kmsg.ApiVersionsResponse:
				if len(resp.ApiKeys) == 0 {
					t.Error("no API")
				}
			}
		})
	}
}

func checkFetched(t *testing.T, w workload, resp *kmsg.FetchResponse) {
	t.Helper()
	partitions := resp.Topics[0].Partitions
	if len(partitions) != w.Partitions {
		t.Fatalf("got %d partitions, want %d", len(partitions), w.Partitions)
	}
	for _, p := range partitions {
		if len(p.RecordBatches) != w.Bytes/w.Partitions {
			t.Fatalf("got %d bytes, want %d", len(p.RecordBatches), w.Bytes/w.Partitions)
		}
	}
}

func decodeResponse(t *testing.T, req kmsg.Request, frame []byte) kmsg.Response {
	t.Helper()
	if got := int(wire.Size(frame)); got != len(frame)-wire.SizeLen {
		t.Fatalf("size %d in %d bytes", got, len(frame))
	}
	body := frame[wire.ResponsePrefixLen:]
	resp := req.ResponseKind()
	if resp.IsFlexible() && resp.Key() != kmsg.ApiVersions.Int16() {
		if body[0] != 0 {
			t.Fatalf("header tags % x", body[:1])
		}
		body = body[1:]
	}
	if err := resp.ReadFrom(body); err != nil {
		t.Fatal(err)
	}
	if again := resp.AppendTo(nil); !bytes.Equal(again, body) {
		t.Fatalf("kmsg writes %d bytes for %d", len(again), len(body))
	}
	return resp
}

// A batch has the requested length, and is valid to a client.
func TestBatchOf(t *testing.T) {
	for n := range 5000 {
		b := batchOf(n)
		if n < batchOverhead {
			if b != nil {
				t.Fatalf("%d: got %d bytes, want none", n, len(b))
			}
			continue
		}
		if len(b) != n {
			t.Fatalf("%d: got %d bytes", n, len(b))
		}
	}
	var batch kmsg.RecordBatch
	if err := batch.ReadFrom(batchOf(64 * kib)); err != nil {
		t.Fatal(err)
	}
	var record kmsg.Record
	if err := record.ReadFrom(batch.Records); err != nil {
		t.Fatal(err)
	}
	if len(record.Value) < 64*kib-batchOverhead || batch.NumRecords != 1 || batch.Magic != 2 {
		t.Errorf("got %d bytes in a batch of %d records, magic %d", len(record.Value), batch.NumRecords, batch.Magic)
	}
}

// The broker responds to each request with its correlation id, whether it has seen such a
// request before or not, and with any requests in between.
func TestBrokerAnswers(t *testing.T) {
	address := startFakeBroker(t)
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	id := int32(0)
	for range 3 {
		for _, w := range []workload{produceOf(256, 1), produceOf(mib, 1), fetchOf(11, 4*kib, 1), fetchOf(17, mib, 1), asking("", idle, 1, "")} {
			l := newLoad(loadJob{Work: w}, nil)
			c := newLoadConn(l, conn)
			for range 2 {
				c.sent, c.read = id, id
				if err := c.askOnce(); err != nil {
					t.Fatalf("%s: %v", w.Name, err)
				}
				id++
			}
			if want := int64(2 * (len(requestFrame(w)) + len(responseFrame(w)))); l.bytes.Load() != want {
				t.Errorf("%s: %d bytes, want %d", w.Name, l.bytes.Load(), want)
			}
		}
	}
}

// Bytes that are no request end their connection and no other.
func TestBrokerRefuses(t *testing.T) {
	address := startFakeBroker(t)
	for name, frame := range map[string][]byte{
		"too large":   {0x7f, 0xff, 0xff, 0xff, 0, 1, 0, 17, 0, 0, 0, 0},
		"too small":   {0, 0, 0, 1, 0, 1, 0, 17, 0, 0, 0, 0},
		"unknown API": {0, 0, 0, 8, 0x27, 0x0f, 0, 0, 0, 0, 0, 0},
		"cut body":    {0, 0, 0, 8, 0, 1, 0, 17, 0, 0, 0, 0},
	} {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := conn.Write(frame); err != nil {
			t.Fatal(err)
		}
		if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("%s: answered", name)
		}
		_ = conn.Close()
	}
}

func startFakeBroker(t *testing.T) string {
	t.Helper()
	return startSecureBroker(t, nil)
}

// startSecureBroker starts one that speaks TLS, if there is a config.
func startSecureBroker(t *testing.T, config *tls.Config) string {
	t.Helper()
	address := net.JoinHostPort(portlab.Host(t), "9092")
	b, err := newFakeBroker(address)
	if err != nil {
		t.Fatal(err)
	}
	b.tls = config
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = serveConns(t.Context(), address, b.serve)
	}()
	t.Cleanup(func() { <-done })
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); {
		if conn, err := net.Dial("tcp", address); err == nil {
			_ = conn.Close()
			return address
		}
	}
	t.Fatal("the broker does not listen")
	return ""
}
