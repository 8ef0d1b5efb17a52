//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/e2e/lab"
)

const (
	// hoardLimit is limits.max_held_bytes while clients hoard.
	hoardLimit = 64 << 20
	// freeHeld is how many bytes each session may hold beside it.
	freeHeld = 4 << 10
	// hoarding is the memory that one client may cost beside the limit: its buffers,
	// those of its broker's connection and two goroutines.
	hoarding = 64 << 10
	// hoardFor is how long hoarders are observed.
	hoardFor = 5 * time.Second
	// hoarder is the client.id for which the fake broker sends Metadata that does
	// not end.
	hoarder = "hoarder"
)

// hoards are scenes in which clients make kproxy hold as much as they can.
func hoards(n size) []*scene {
	limits := fmt.Sprintf("max_held_bytes: %d, first_request_timeout: %v", hoardLimit, dawdling)
	play := func(name, done string, greeting []byte) *scene {
		return &scene{
			Name: name, Limits: limits, PerClient: hoarding, Hoards: true,
			Closed: []string{"held_bytes", "hold_timeout", "client_reset", "first_request_timeout"},
			Done:   fmt.Sprintf(done, n.Dawdlers),
			Act:    func(ctx context.Context, st *stage) error { return st.hoard(ctx, greeting) },
		}
	}
	unfinished := func(frame []byte) []byte { return frame[:len(frame)-1] }
	return []*scene{
		play("Refused requests that do not end", "%d clients of a read-only listener send DeleteTopics of 250 KB without its last byte.",
			unfinished(encodeAs("herd", deletion(250), 1))),
		play("Refused records that do not end", "%d clients of a read-only listener send Produce of 2 MiB without its last byte.",
			unfinished(encodeAs("herd", production(2<<20), 7))),
		play("Refused requests behind a long poll", "%d clients of a read-only listener send a Fetch that is never answered, and 100 DeleteTopics of 20 KB behind it.",
			slices.Concat(encodeAs("herd", kmsg.NewPtrFetchRequest(), 4), bytes.Repeat(encodeAs("herd", deletion(20), 1), 100))),
		play("Metadata that does not end", "%d clients ask for Metadata, and the broker sends 2.7 MB of brokers without the last byte.",
			encodeAs(hoarder, kmsg.NewPtrMetadataRequest(), 12)),
		play("First requests that do not end", "%d clients send a request whose header has 40 KB of tags, without the last byte.",
			unfinished(tagged(40<<10))),
	}
}

func encodeAs(clientID string, req kmsg.Request, version int16) []byte {
	req.SetVersion(version)
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID(clientID)).AppendRequest(nil, req, 0)
}

// deletion names so many topics of 1 KB.
func deletion(topics int) kmsg.Request {
	req := kmsg.NewPtrDeleteTopicsRequest()
	for range topics {
		req.TopicNames = append(req.TopicNames, strings.Repeat("t", 998))
	}
	return req
}

// production is a Produce request with so many bytes of records.
func production(records int) kmsg.Request {
	req := kmsg.NewPtrProduceRequest()
	req.Acks = -1
	topic, partition := kmsg.NewProduceRequestTopic(), kmsg.NewProduceRequestTopicPartition()
	partition.Records = make([]byte, records)
	topic.Topic, topic.Partitions = "t", append(topic.Partitions, partition)
	req.Topics = append(req.Topics, topic)
	return req
}

// tagged is ApiVersions v3 with n bytes in a tag of its header.
func tagged(n int) []byte {
	frame := encodeAs("herd", kmsg.NewPtrApiVersionsRequest(), 3)
	const at = 4 + 8 + 2 + len("herd") // the header's tags
	tags := append([]byte{1, 9, byte(n&0x7f | 0x80), byte(n>>7&0x7f | 0x80), byte(n >> 14)}, make([]byte, n)...)
	frame = slices.Concat(frame[:at], tags, frame[at+1:])
	size := len(frame) - 4
	frame[0], frame[1], frame[2], frame[3] = byte(size>>24), byte(size>>16), byte(size>>8), byte(size)
	return frame
}

// endless is the response to Metadata v12 that does not end.
var endless = sync.OnceValue(func() []byte {
	resp := kmsg.NewPtrMetadataResponse()
	resp.Version = 12
	for id := range int32(9000) {
		b := kmsg.NewMetadataResponseBroker()
		b.NodeID, b.Host, b.Port = id, strings.Repeat("h", 290), 1
		resp.Brokers = append(resp.Brokers, b)
	}
	payload := resp.AppendTo([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0})
	size := len(payload) - 4
	payload[0], payload[1], payload[2], payload[3] = byte(size>>24), byte(size>>16), byte(size>>8), byte(size)
	return payload[:len(payload)-1]
})

// hoard makes clients send greeting and read nothing, watches, and closes them.
func (st *stage) hoard(ctx context.Context, greeting []byte) error {
	to := st.kproxy.read
	if bytes.Contains(greeting, []byte(hoarder)) {
		to = st.kproxy.plain
	}
	if err := st.hoardElsewhere(ctx, greeting); err != nil {
		return err
	}
	watched, stop := context.WithCancel(ctx)
	defer stop()
	var watching sync.WaitGroup
	watching.Go(func() { st.watchHeld(watched) })
	all, err := st.hoarders(ctx, to, greeting)
	if err == nil {
		err = st.atHeight(ctx, len(all))
	}
	pause(ctx, hoardFor)
	stop()
	watching.Wait()
	for _, d := range all {
		if d != nil {
			reset(d.conn)
		}
	}
	if err != nil {
		return err
	}
	// Those that kproxy does not read, behind a long poll, are found closed by its checks
	// of their sockets, 15 s apart.
	return lab.Poll(ctx, 2*time.Minute, func() error {
		f, err := st.kproxy.look(ctx)
		if err == nil && f.Active != st.untouched() {
			err = fmt.Errorf("%d sessions are open, want %d", f.Active, st.untouched())
		}
		return err
	})
}

// hoarders connects them, and sends greeting on each.
func (st *stage) hoarders(ctx context.Context, to door, greeting []byte) ([]*dawdler, error) {
	return st.dawdlers(ctx, to, func(conn net.Conn) error {
		// The error of a client that is ended meanwhile, or not read, does not matter.
		_ = conn.SetWriteDeadline(time.Now().Add(hoardFor / 4))
		_, _ = conn.Write(greeting)
		return nil
	})
}

// hoardElsewhere has the same clients come to HAProxy first, and notes their effect on
// its own client, for the comparison.
func (st *stage) hoardElsewhere(ctx context.Context, greeting []byte) error {
	if _, err := st.probes.look(); err != nil {
		return err
	}
	all, err := st.hoarders(ctx, door{Address: st.haproxyAt}, greeting)
	pause(ctx, hoardFor)
	for _, d := range all {
		if d != nil {
			reset(d.conn)
		}
	}
	if err != nil {
		return err
	}
	seen, err := st.probes.look()
	if err != nil {
		return err
	}
	st.note("With the same clients at HAProxy its own client sees %s ms", seen[haproxy].cell())
	pause(ctx, time.Second)
	_, err = st.probes.look() // the next look is kproxy's alone
	return err
}

// watchHeld looks at the held bytes, and the latency of /readyz, until ctx ends.
func (st *stage) watchHeld(ctx context.Context) {
	var most float64
	var took []time.Duration
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		began := time.Now()
		if _, err := lab.Get(ctx, st.kproxy.admin, "/readyz"); err == nil {
			took = append(took, time.Since(began))
		}
		if metrics, err := lab.Get(ctx, st.kproxy.admin, "/metrics"); err == nil {
			if held, err := lab.Value(metrics, "kproxy_held_bytes"); err == nil {
				most = max(most, held)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	if allowed := float64(hoardLimit + st.Dawdlers*freeHeld); most > allowed {
		st.fail("%.0f bytes were held, more than %.0f", most, allowed)
	}
	if len(took) == 0 {
		st.fail("/readyz has not answered")
		return
	}
	slices.Sort(took)
	st.note("At most %.1f MiB were held, of %d MiB. /readyz took %s in the median and %s at most", most/(1<<20), hoardLimit>>20,
		ms(took[len(took)/2]), ms(took[len(took)-1]))
}

const haproxyConfiguration = `
global
  maxconn 4000
defaults
  mode tcp
  timeout connect 10s
  timeout client 1h
  timeout server 1h
listen broker
  bind %s
  server broker %s
`

// startHAProxy runs an HAProxy between one untouched client and the broker, to compare
// the effects on another proxy's client.
func (s *site) startHAProxy(ctx context.Context) error {
	base, err := s.ports.Block(ctx, "127.0.0.1")
	if err != nil {
		return err
	}
	s.haproxyAt = lab.HostPort("127.0.0.1", base)
	file := s.dir + "/haproxy.cfg"
	if err := os.WriteFile(file, fmt.Appendf(nil, haproxyConfiguration, s.haproxyAt, s.behind), 0o600); err != nil {
		return err
	}
	if s.haproxy, err = lab.StartProcess("HAProxy", s.dir+"/haproxy.log", lab.Command(context.WithoutCancel(ctx), "haproxy", "-f", file)); err != nil {
		return fmt.Errorf("%w (the package haproxy)", err)
	}
	return lab.Poll(ctx, patience, func() error {
		conn, err := door{Address: s.haproxyAt}.visit(ctx)
		if err != nil {
			return err
		}
		return conn.Close()
	})
}
