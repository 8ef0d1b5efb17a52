//go:build !unix

package sharedsocket

import (
	"errors"
	"net"
	"syscall"
)

func duplicate(tcp filer) (net.Listener, error) {
	f, err := tcp.File()
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // FileListener has another descriptor
	return net.FileListener(f)
}

// CanReusePort reports whether this system lets sockets share an address.
const CanReusePort = false

// ReusePort is not there on this system.
func ReusePort(string, string, syscall.RawConn) error {
	return errors.New("sockets cannot share an address on this system")
}
