//go:build e2e

package e2e

import (
	"bytes"
	"net"
)

// brokersDomain is in every name that the brokers advertise. A client that gets it from
// kproxy has got an address which is not kproxy's.
const brokersDomain = ".vpc.invalid"

// leakScanner looks for brokersDomain in the bytes that kproxy sends to one client. Many
// clients ignore a leader's address in a Fetch response and would not report it.
type leakScanner struct {
	found func(around []byte) // called once
	rest  []byte              // the end of the bytes written: a name may come in two pieces
	done  bool
}

// Write makes leakScanner an io.Writer, which never fails.
func (s *leakScanner) Write(p []byte) (int, error) {
	const context = 32 // enough to see which response it was in
	if s.done {
		return len(p), nil
	}
	s.rest = append(s.rest, p...)
	if i := bytes.Index(s.rest, []byte(brokersDomain)); i >= 0 {
		s.found(s.rest[max(0, i-context):min(len(s.rest), i+context)])
		s.done = true
	}
	s.rest = append(s.rest[:0], s.rest[max(0, len(s.rest)-context):]...)
	return len(p), nil
}

// scannedConn is a client's connection whose reads are scanned.
type scannedConn struct {
	net.Conn
	scan leakScanner
}

func (c *scannedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	_, _ = c.scan.Write(p[:n])
	return n, err
}
