//go:build e2e

// Package decoders gives responses that kproxy has rewritten to the decoders of other
// clients' libraries. kproxy's own tests read them by kmsg alone.
package decoders

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/e2e/lab"
	"kproxy/rewrite"
)

const brokerHost = "ip-172-31-18-161.us-west-2.compute.internal"

// frame is a response that kproxy has rewritten, and its brokers as kmsg reads them.
type frame struct {
	api     string // as the program knows it
	version int16
	body    []byte // behind the response header
	named   string
	what    string
}

func (f frame) line() string { return fmt.Sprintf("%s %d %x\n", f.api, f.version, f.body) }

// TestOtherDecoders uses names that are up to 200 bytes shorter and longer than the
// brokers' own, in responses of the same length and of the length that they need.
func TestOtherDecoders(t *testing.T) {
	frames := rewritten(t)
	t.Logf("%d responses", len(frames))
	release, err := lab.NewRelease(t.Context(), lab.Newest)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("Java", func(t *testing.T) {
		check(t, frames, javaProgram(t, release, "Decode"))
	})
	t.Run("kafka-python", func(t *testing.T) {
		python, err := lab.Python(t.Context(), filepath.Join("..", "compat", "clients", "python", "requirements.txt"))
		if err != nil {
			t.Fatal(err)
		}
		check(t, frames, lab.Command(t.Context(), python, "decode.py"))
	})
}

// javaProgram compiles a program in this directory, and returns the command that runs it
// with the release's client.
func javaProgram(t *testing.T, release lab.Release, name string) *exec.Cmd {
	t.Helper()
	classes := t.TempDir()
	compile := lab.Command(t.Context(), "javac", "-nowarn", "-Xlint:none", "-cp", release.Classpath, "-d", classes, name+".java")
	if out, err := lab.Output(compile); err != nil {
		t.Fatalf("javac: %v\n%s", err, out)
	}
	java, err := lab.NewJava(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return java.Tool(t.Context(), classes+":"+release.Classpath, name)
}

// ask gives a program its input, and returns the lines that it prints, of which there must
// be want.
func ask(t *testing.T, program *exec.Cmd, input string, want int) []string {
	t.Helper()
	program.Stdin = strings.NewReader(input)
	var stderr bytes.Buffer
	program.Stderr = &stderr
	out, err := program.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", program.Args, err, stderr.String())
	}
	said := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	if len(said) != want {
		t.Fatalf("lines: got %d, want %d\n%s", len(said), want, stderr.String())
	}
	return said
}

// check gives the frames to a program and compares its output with kmsg.
func check(t *testing.T, frames []frame, program *exec.Cmd) {
	t.Helper()
	var in strings.Builder
	for _, f := range frames {
		in.WriteString(f.line())
	}
	said := ask(t, program, in.String(), len(frames))
	read := 0
	for i, f := range frames {
		if said[i] == "not offered" {
			continue
		}
		read++
		if said[i] != f.named {
			t.Errorf("%s: got %q, want %q", f.what, said[i], f.named)
		}
	}
	t.Logf("%d of %d are of versions that the library has", read, len(frames))
	if read < len(frames)/2 {
		t.Errorf("responses that were read: got %d of %d", read, len(frames))
	}
}

// rewritten makes responses and rewrites them as kproxy does.
func rewritten(t *testing.T) []frame {
	t.Helper()
	var frames []frame
	for _, api := range []struct {
		response func(brokers int) kmsg.Response
		versions []int16
	}{
		{produced, []int16{10, 12, 13}},
		{fetched, []int16{16, 17, 18}},
		{shareFetched, []int16{1, 2}},
		{shareAcknowledged, []int16{1, 2}},
	} {
		for _, version := range api.versions {
			for delta := -len(brokerHost) + 1; delta <= 200; delta++ {
				for _, brokers := range []int{1, 3} {
					resp := api.response(brokers)
					resp.SetVersion(version)
					frames = append(frames, rewriteOne(t, resp, delta, true), rewriteOne(t, resp, delta, false))
				}
			}
		}
	}
	return frames
}

// rewriteOne gives the brokers of a response names that are longer by delta bytes, in as many
// bytes as it has if fixed.
func rewriteOne(t *testing.T, resp kmsg.Response, delta int, fixed bool) frame {
	t.Helper()
	api, version := kmsg.Key(resp.Key()), resp.GetVersion()
	f := frame{
		api: api.Name(), version: version,
		what: fmt.Sprintf("%s v%d, names of %s %+d bytes, fixed %t", api.Name(), version, named(resp), delta, fixed),
	}
	payload := resp.AppendTo([]byte{0}) // the response header's tags
	host := strings.Repeat("h", len(brokerHost)+delta)
	rewriter := &rewrite.Rewriter{Translate: func(_ int16, b rewrite.Brokers) {
		for i := range b.List {
			b.List[i].Host, b.List[i].Port = host, 30000+b.List[i].Node
		}
	}}
	at := tailOf(t, int16(api), version, payload)
	tail, _, err := rewriter.Tail(int16(api), version, payload[at:], fixed)
	if err != nil {
		t.Fatalf("%s: %v", f.what, err)
	}
	out := append(bytes.Clone(payload[:at]), tail...)
	if fixed && len(out) != len(payload) {
		t.Fatalf("%s: got %d bytes, want %d", f.what, len(out), len(payload))
	}
	if bytes.Contains(out, []byte(brokerHost)) {
		t.Fatalf("%s: has the broker's own name", f.what)
	}
	f.body = out[1:]
	back := kmsg.ResponseForKey(int16(api))
	back.SetVersion(version)
	if err := back.ReadFrom(f.body); err != nil {
		t.Fatalf("%s: kmsg: %v", f.what, err)
	}
	f.named = named(back)
	return f
}

// tailOf walks a response to where its tail begins.
func tailOf(t *testing.T, key, version int16, payload []byte) int {
	t.Helper()
	var w rewrite.Walker
	w.Start(key, version, len(payload))
	for at := 0; ; {
		step, err := w.Next(payload[at:])
		switch {
		case err != nil:
			t.Fatal(err)
		case step.Verb == rewrite.Pass:
			at += step.N
		case step.Verb == rewrite.Tail:
			return at
		default:
			t.Fatalf("at %d of %d: the walker needs %d bytes", at, len(payload), step.N)
		}
	}
}

const notLeader = 6 // the error that comes with a leader hint

// produced, fetched, shareFetched and shareAcknowledged are responses with leader hints.
func produced(brokers int) kmsg.Response {
	r := kmsg.NewPtrProduceResponse()
	topic, partition := kmsg.NewProduceResponseTopic(), kmsg.NewProduceResponseTopicPartition()
	topic.Topic, partition.ErrorCode, partition.CurrentLeader.LeaderID = "t", notLeader, 1
	topic.Partitions = append(topic.Partitions, partition)
	r.Topics = append(r.Topics, topic)
	for id := range brokers {
		b := kmsg.NewProduceResponseBroker()
		b.NodeID, b.Host, b.Port = int32(id), brokerHost, 9092
		r.Brokers = append(r.Brokers, b)
	}
	return r
}

func fetched(brokers int) kmsg.Response {
	r := kmsg.NewPtrFetchResponse()
	topic, partition := kmsg.NewFetchResponseTopic(), kmsg.NewFetchResponseTopicPartition()
	topic.Topic, partition.ErrorCode, partition.CurrentLeader.LeaderID = "t", notLeader, 1
	other := kmsg.NewFetchResponseTopicPartition()
	other.Partition, other.RecordBatches = 1, records()
	topic.Partitions = append(topic.Partitions, partition, other)
	r.Topics = append(r.Topics, topic)
	for id := range brokers {
		b := kmsg.NewFetchResponseBroker()
		b.NodeID, b.Host, b.Port, b.Rack = int32(id), brokerHost, 9092, new("r")
		r.Brokers = append(r.Brokers, b)
	}
	return r
}

func shareFetched(brokers int) kmsg.Response {
	r := kmsg.NewPtrShareFetchResponse()
	topic, partition := kmsg.NewShareFetchResponseTopic(), kmsg.NewShareFetchResponseTopicPartition()
	partition.ErrorCode, partition.CurrentLeader.LeaderID, partition.Records = notLeader, 1, records()
	topic.Partitions = append(topic.Partitions, partition)
	r.Topics = append(r.Topics, topic)
	for id := range brokers {
		b := kmsg.NewShareFetchResponseNodeEndpoint()
		b.NodeID, b.Host, b.Port = int32(id), brokerHost, 9092
		r.NodeEndpoints = append(r.NodeEndpoints, b)
	}
	return r
}

func shareAcknowledged(brokers int) kmsg.Response {
	r := kmsg.NewPtrShareAcknowledgeResponse()
	for id := range brokers {
		b := kmsg.NewShareAcknowledgeResponseNodeEndpoint()
		b.NodeID, b.Host, b.Port = int32(id), brokerHost, 9092
		r.NodeEndpoints = append(r.NodeEndpoints, b)
	}
	return r
}

// records is an empty batch, as a compacted topic has them.
func records() []byte {
	b := (&kmsg.RecordBatch{Magic: 2, ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1}).AppendTo(nil)
	binary.BigEndian.PutUint32(b[8:], uint32(len(b)-12))
	return b
}

// named is the output of the decoders.
func named(resp kmsg.Response) string {
	var all []string
	add := func(node int32, host string, port int32) {
		all = append(all, fmt.Sprintf("%d@%s:%d", node, host, port))
	}
	switch r := resp.(type) {
	case *kmsg.ProduceResponse:
		for _, b := range r.Brokers {
			add(b.NodeID, b.Host, b.Port)
		}
	case *kmsg.FetchResponse:
		for _, b := range r.Brokers {
			add(b.NodeID, b.Host, b.Port)
		}
	case *kmsg.ShareFetchResponse:
		for _, b := range r.NodeEndpoints {
			add(b.NodeID, b.Host, b.Port)
		}
	case *kmsg.ShareAcknowledgeResponse:
		for _, b := range r.NodeEndpoints {
			add(b.NodeID, b.Host, b.Port)
		}
	}
	return strings.Join(all, " ")
}
