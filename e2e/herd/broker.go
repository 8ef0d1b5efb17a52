//go:build linux

package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/internal/wire"
)

const brokerRole = "broker"

// brokerJob is the fake broker's configuration.
type brokerJob struct {
	Cert, Key string // files; empty: it speaks plaintext
}

// brokerResponse is where it listens.
type brokerResponse struct{ Address string }

// serveBroker is a broker of one node that knows ApiVersions and Metadata, and a bare TLS
// server where it has a certificate. kproxy's handshakes are compared with that. It ends
// with its input.
func serveBroker(in *json.Decoder, out *json.Encoder) error {
	var job brokerJob
	if err := in.Decode(&job); err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // at once
	if err != nil {
		return err
	}
	b := &broker{self: l.Addr().(*net.TCPAddr)}
	if job.Cert != "" {
		pair, err := tls.LoadX509KeyPair(job.Cert, job.Key)
		if err != nil {
			return err
		}
		l = tls.NewListener(l, &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}})
	}
	go b.accept(l) // ends with the process
	if err := out.Encode(brokerResponse{b.self.String()}); err != nil {
		return err
	}
	if err := in.Decode(&struct{}{}); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// broker responds to requests.
type broker struct{ self *net.TCPAddr }

func (b *broker) accept(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go b.serve(conn)
	}
}

// serve ends with the connection; the client reports the reason.
func (b *broker) serve(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReaderSize(conn, 512) // there are thousands
	for {
		frame, err := readFrame(in)
		if err != nil {
			return
		}
		if isFetch := wire.ParseRequestPrefix(frame).Key == kmsg.Fetch.Int16(); isFetch {
			continue // a long poll
		}
		if bytes.Contains(frame, []byte(hoarder)) {
			_, _ = conn.Write(endless())
			continue
		}
		response, err := b.response(frame)
		if err != nil {
			return
		}
		if _, err := conn.Write(response); err != nil {
			return
		}
	}
}

// response is the response to a request, as a frame.
func (b *broker) response(frame []byte) ([]byte, error) {
	prefix := wire.ParseRequestPrefix(frame)
	req := kmsg.RequestForKey(prefix.Key)
	if req == nil || prefix.Version > req.MaxVersion() {
		return nil, fmt.Errorf("API %d v%d is not known", prefix.Key, prefix.Version)
	}
	req.SetVersion(prefix.Version)
	resp := req.ResponseKind()
	switch resp := resp.(type) {
	case *kmsg.ApiVersionsResponse:
		for _, r := range []kmsg.Request{kmsg.NewPtrMetadataRequest(), kmsg.NewPtrApiVersionsRequest()} {
			k := kmsg.NewApiVersionsResponseApiKey()
			k.ApiKey, k.MaxVersion = r.Key(), r.MaxVersion()
			resp.ApiKeys = append(resp.ApiKeys, k)
		}
	case *kmsg.MetadataResponse:
		node := kmsg.NewMetadataResponseBroker()
		node.Host, node.Port = b.self.IP.String(), int32(b.self.Port)
		resp.Brokers = append(resp.Brokers, node)
		resp.ClusterID = new("herd")
	default:
		return nil, fmt.Errorf("%s is not known", kmsg.NameForKey(prefix.Key))
	}
	response := make([]byte, wire.ResponsePrefixLen)
	// The header of an ApiVersions response is never flexible (KIP-511).
	if resp.IsFlexible() && resp.Key() != kmsg.ApiVersions.Int16() {
		response = append(response, 0)
	}
	response = resp.AppendTo(response)
	binary.BigEndian.PutUint32(response, uint32(len(response)-wire.SizeLen))
	binary.BigEndian.PutUint32(response[wire.SizeLen:], uint32(prefix.CorrelationID))
	return response, nil
}

// mostFrame is more than any client here sends.
const mostFrame = 1 << 16

// readFrame reads a request or a response, its size included.
func readFrame(in io.Reader) ([]byte, error) {
	frame := make([]byte, wire.SizeLen)
	if _, err := io.ReadFull(in, frame); err != nil {
		return nil, err
	}
	size := wire.Size(frame)
	if size < wire.MinRequestSize || size > mostFrame {
		return nil, fmt.Errorf("a frame of %d bytes", size)
	}
	frame = append(frame, make([]byte, size)...)
	_, err := io.ReadFull(in, frame[wire.SizeLen:])
	return frame, err
}
