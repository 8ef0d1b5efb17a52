package rewrite_test

import (
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/rewrite"
)

// metadata is a Metadata response (v9) of a cluster with two brokers, without the frame's
// size and correlation id: it begins with the tags of the response header.
func metadata() []byte {
	resp := kmsg.NewPtrMetadataResponse()
	resp.Version = 9
	for node := range int32(2) {
		b := kmsg.NewMetadataResponseBroker()
		b.NodeID, b.Host, b.Port = node, fmt.Sprintf("b%d.internal", node), 9092
		resp.Brokers = append(resp.Brokers, b)
	}
	return append([]byte{0}, resp.AppendTo(nil)...)
}

// A Metadata response has its brokers in front. Head replaces their addresses, and says how
// many bytes of the response it has replaced: the rest follows unchanged.
func ExampleRewriter_Head() {
	r := rewrite.Rewriter{Translate: func(_ int16, brokers rewrite.Brokers) {
		for i := range brokers.List {
			b := &brokers.List[i]
			b.Host, b.Port = "kafka.example.com", 9100+b.Node
		}
	}}
	payload := metadata()
	head, n, notes, err := r.Head(3, 9, payload)
	if err != nil {
		fmt.Println(err)
		return
	}
	out := slices.Concat(head, payload[n:])

	resp := kmsg.NewPtrMetadataResponse()
	resp.Version = 9
	if err := resp.ReadFrom(out[1:]); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(notes.Named, "addresses")
	for _, b := range resp.Brokers {
		fmt.Printf("node %d: %s:%d\n", b.NodeID, b.Host, b.Port)
	}
	// Output:
	// 2 addresses
	// node 0: kafka.example.com:9100
	// node 1: kafka.example.com:9101
}

// The beginning of a response is not enough: more has to be read.
func ExampleRewriter_Head_short() {
	r := rewrite.Rewriter{Translate: func(int16, rewrite.Brokers) {}}
	_, _, _, err := r.Head(3, 9, metadata()[:20])
	fmt.Println(errors.Is(err, rewrite.ErrShort))
	// Output: true
}

// TreatmentOf returns the treatment of a response before any byte of it is read.
func ExampleTreatmentOf() {
	for _, api := range []struct{ key, version int16 }{{3, 12}, {1, 17}, {12, 4}} {
		fmt.Println(kmsg.NameForKey(api.key), rewrite.TreatmentOf(api.key, api.version))
	}
	// Output:
	// Metadata head
	// Fetch walk
	// Heartbeat opaque
}
