//go:build e2e && linux

package sockhash

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/wire"
)

// patience is how long bytes may take: far longer than they do, and a stall lasts for ever.
const patience = 20 * time.Second

// pattern is the body of a message of n bytes.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 7 / 3)
	}
	return b
}

// lastFetch in place of a size has the broker end its side behind a response of 1 MiB.
const lastFetch = 1 << 30

// broker is a listener whose connections respond to Fetch by as many bytes as the request says, and to
// Produce by the number of its bytes if they are those of a pattern.
type broker struct{ net.Listener }

func startBroker(t *testing.T) *broker {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	b := &broker{l}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go b.serve(conn)
		}
	}()
	return b
}

func (b *broker) serve(conn net.Conn) {
	defer conn.Close()
	for {
		frame, err := readFrame(conn)
		if err != nil {
			return
		}
		body, last := b.respond(frame)
		out := binary.BigEndian.AppendUint32(nil, uint32(4+len(body)))
		if _, err := conn.Write(append(append(out, frame[4:8]...), body...)); err != nil || last {
			return
		}
	}
}

func readFrame(conn net.Conn) ([]byte, error) {
	size := make([]byte, wire.SizeLen)
	if _, err := io.ReadFull(conn, size); err != nil {
		return nil, err
	}
	frame := make([]byte, binary.BigEndian.Uint32(size))
	_, err := io.ReadFull(conn, frame)
	return frame, err
}

func (b *broker) respond(frame []byte) (body []byte, last bool) {
	key, version := int16(binary.BigEndian.Uint16(frame)), int16(binary.BigEndian.Uint16(frame[2:]))
	switch key {
	case kmsg.ApiVersions.Int16():
		r := kmsg.NewPtrApiVersionsResponse()
		if r.Version = version; version > 3 {
			r.Version, r.ErrorCode = 0, 35
		}
		r.ApiKeys = []kmsg.ApiVersionsResponseApiKey{{ApiKey: 0, MaxVersion: 7}, {ApiKey: 1, MaxVersion: 11}, {ApiKey: 3, MaxVersion: 8}, {ApiKey: 18, MaxVersion: 3}}
		return r.AppendTo(nil), false
	case kmsg.Metadata.Int16():
		r := kmsg.NewPtrMetadataResponse()
		r.Version = version
		self := kmsg.NewMetadataResponseBroker()
		self.Host, self.Port = "127.0.0.1", int32(b.Addr().(*net.TCPAddr).Port)
		r.Brokers = append(r.Brokers, self)
		return r.AppendTo(nil), false
	case kmsg.Fetch.Int16():
		n := int(binary.BigEndian.Uint32(frame[len(frame)-4:]))
		if n == lastFetch {
			return pattern(1 << 20), true
		}
		return pattern(n), false
	default: // Produce
		records := frame[produceHead:]
		if !bytes.Equal(records, pattern(len(records))) {
			return []byte("the request differs"), false
		}
		return produced(len(records)), false
	}
}

// produced is the body of a response to Produce.
func produced(n int) []byte { return fmt.Appendf(nil, "%d bytes", n) }

// produceHead is the length of a Produce request up to its records, in client.produce.
const produceHead = 2 + 2 + 4 + 2 + 4

// client is a client's connection to kproxy.
type client struct {
	net.Conn
	t  *testing.T
	id int32
}

func dial(t *testing.T, address string) *client {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return &client{conn, t, 0}
}

// send writes a request with a body.
func (c *client) send(key kmsg.Key, version int16, body []byte) error {
	c.id++
	b := binary.BigEndian.AppendUint32(nil, uint32(2+2+4+2+len(body)))
	b = binary.BigEndian.AppendUint16(b, uint16(key))
	b = binary.BigEndian.AppendUint16(b, uint16(version))
	b = binary.BigEndian.AppendUint32(b, uint32(c.id))
	b = binary.BigEndian.AppendUint16(b, 0xffff) // no client id
	_ = c.SetWriteDeadline(time.Now().Add(patience))
	_, err := c.Write(append(b, body...))
	return err
}

// fetch has the broker send n bytes.
func (c *client) fetch(n int) error {
	if err := c.send(kmsg.Fetch, 11, binary.BigEndian.AppendUint32(nil, uint32(n))); err != nil {
		return err
	}
	if n == lastFetch {
		n = 1 << 20
	}
	return c.receive(pattern(n))
}

// produce sends n bytes, with acks=-1.
func (c *client) produce(n int) error {
	if err := c.sendProduce(n); err != nil {
		return err
	}
	return c.receive(produced(n))
}

func (c *client) sendProduce(n int) error {
	return c.send(kmsg.Produce, 7, append([]byte{0xff, 0xff, 0xff, 0xff}, pattern(n)...))
}

func (c *client) receive(want []byte) error {
	_ = c.SetReadDeadline(time.Now().Add(patience))
	frame, err := readFrame(c)
	switch {
	case err != nil:
		return fmt.Errorf("response %d, of %d bytes: %w", c.id, len(want), err)
	case int32(binary.BigEndian.Uint32(frame)) != c.id || !bytes.Equal(frame[4:], want):
		return fmt.Errorf("response %d, of %d bytes, differs", c.id, len(want))
	default:
		return nil
	}
}

// ended waits for the end of kproxy's side.
func (c *client) ended() error {
	_ = c.SetReadDeadline(time.Now().Add(patience))
	if n, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%d bytes behind the last response, %w", n, err)
	}
	return nil
}
