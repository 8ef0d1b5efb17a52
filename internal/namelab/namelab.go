// Package namelab keeps tests from the machine's name server, which may be slow, lose a query, or
// know a name that no test expects.
package namelab

import (
	"context"
	"encoding/binary"
	"io"
	"net"

	"golang.org/x/net/dns/dnsmessage"
)

// Use makes net.DefaultResolver ask a server inside the process: it responds that there is no such
// name. Names of the machine's hosts file, such as localhost, resolve as before. TestMain calls it.
func Use() {
	net.DefaultResolver = &net.Resolver{
		PreferGo: true,
		Dial: func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			go serve(far)
			return near, nil
		},
	}
}

// serve responds to queries as over TCP, each behind its length, until the other side closes.
func serve(conn net.Conn) {
	defer conn.Close()
	for {
		var length [2]byte
		if _, err := io.ReadFull(conn, length[:]); err != nil {
			return
		}
		query := make([]byte, binary.BigEndian.Uint16(length[:]))
		if _, err := io.ReadFull(conn, query); err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(query) != nil {
			return
		}
		m = dnsmessage.Message{
			Header:    dnsmessage.Header{ID: m.ID, Response: true, RecursionDesired: m.RecursionDesired, RecursionAvailable: true, RCode: dnsmessage.RCodeNameError},
			Questions: m.Questions,
		}
		response, err := m.AppendPack(make([]byte, len(length)))
		if err != nil {
			return
		}
		binary.BigEndian.PutUint16(response, uint16(len(response)-len(length)))
		if _, err := conn.Write(response); err != nil {
			return
		}
	}
}
