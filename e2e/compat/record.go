//go:build linux

package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/e2e/lab"
)

const (
	// tapPort is where kproxy reaches the brokers' plaintext listener if their
	// frames are to be recorded.
	tapPort = 9192
	// maxRecorded is the largest frame that is kept, in bytes.
	maxRecorded = 2 << 10
)

// exchange is an API in one version.
type exchange struct{ key, version int16 }

// recorder keeps, of each exchange, one request, one response, and one response
// that names a broker: the smallest of each. The fast tests replay them.
type recorder struct {
	listeners []net.Listener

	mu       sync.Mutex
	requests map[exchange][]byte
	answers  map[exchange][]byte
	naming   map[exchange][]byte
}

// record puts a tap in front of every broker.
func (p *places) record(ctx context.Context) (*recorder, error) {
	r := &recorder{
		requests: make(map[exchange][]byte), answers: make(map[exchange][]byte), naming: make(map[exchange][]byte),
	}
	for id := 1; id <= maxBrokers; id++ {
		var l net.Listener
		err := p.vpc.Inside(func() (err error) {
			l, err = (&net.ListenConfig{}).Listen(ctx, "tcp", lab.HostPort(brokerAddress(id), tapPort))
			return err
		})
		if err != nil {
			return nil, errors.Join(err, r.Close())
		}
		r.listeners = append(r.listeners, l)
		go r.serve(p, l, lab.HostPort(brokerAddress(id), plainPort))
	}
	return r, nil
}

// Close ends the taps. Connections that were tapped end with their peers.
func (r *recorder) Close() error {
	var errs []error
	for _, l := range r.listeners {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

func (r *recorder) serve(p *places, l net.Listener, broker string) {
	for {
		client, err := l.Accept()
		if err != nil {
			return // closed
		}
		go r.tap(p, client, broker)
	}
}

// tap forwards a connection frame by frame.
func (r *recorder) tap(p *places, client net.Conn, address string) {
	defer client.Close()
	broker, err := p.vpc.Dial(context.Background(), "tcp", address)
	if err != nil {
		return
	}
	defer broker.Close()
	var asked sync.Map // correlation id -> exchange
	go func() {
		_ = frames(broker, client, func(frame []byte, whole bool) {
			if len(frame) < 12 {
				return
			}
			e := exchange{int16(binary.BigEndian.Uint16(frame[4:])), int16(binary.BigEndian.Uint16(frame[6:]))}
			asked.Store(binary.BigEndian.Uint32(frame[8:]), e)
			if whole {
				r.keep(r.requests, e, frame)
			}
		})
		_ = broker.(*net.TCPConn).CloseWrite()
	}()
	_ = frames(client, broker, func(frame []byte, whole bool) {
		e, ok := asked.LoadAndDelete(binary.BigEndian.Uint32(frame[4:]))
		if !ok || !whole {
			return
		}
		if bytes.Contains(frame, []byte(brokersDomain)) {
			r.keep(r.naming, e.(exchange), frame)
		} else {
			r.keep(r.answers, e.(exchange), frame)
		}
	})
}

// frames copies frames and shows the beginning of each.
func frames(dst io.Writer, src io.Reader, show func(frame []byte, whole bool)) error {
	for {
		frame := make([]byte, 8, maxRecorded)
		if _, err := io.ReadFull(src, frame); err != nil {
			return err
		}
		size := int(binary.BigEndian.Uint32(frame)) + 4
		n := min(size, maxRecorded)
		if _, err := io.ReadFull(src, frame[8:max(8, n)]); err != nil {
			return err
		}
		frame = frame[:max(8, n)]
		show(frame, n == size)
		if _, err := dst.Write(frame); err != nil {
			return err
		}
		if _, err := io.CopyN(dst, src, int64(size-len(frame))); err != nil {
			return err
		}
	}
}

func (r *recorder) keep(kept map[exchange][]byte, e exchange, frame []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if old, ok := kept[e]; !ok || len(frame) < len(old) {
		kept[e] = bytes.Clone(frame)
	}
}

// Save writes the recorded frames, a line for each.
func (r *recorder) Save(dir, version string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "# Frames of Kafka %s and its clients, recorded by `go run ./e2e/compat --record rewrite/testdata/transcripts`:\n", version)
	b.WriteString("# of each API in each version a request, a response, and a response that names a broker, where there was one.\n")
	exchanges := slices.SortedFunc(maps.Keys(r.requests), func(a, b exchange) int {
		return cmp.Or(cmp.Compare(a.key, b.key), cmp.Compare(a.version, b.version))
	})
	for _, e := range exchanges {
		line := func(kind string, frame []byte) {
			if frame != nil {
				fmt.Fprintf(&b, "%s %d v%d %s %s\n", kmsg.NameForKey(e.key), e.key, e.version, kind, hex.EncodeToString(frame))
			}
		}
		line("request", r.requests[e])
		line("answer", r.answers[e])
		line("answer", r.naming[e])
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "kafka-"+version+".txt"), []byte(b.String()), 0o644)
}
