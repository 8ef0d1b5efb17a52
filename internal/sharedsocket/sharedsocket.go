// Package sharedsocket hands a listening socket from one server of the process to another.
package sharedsocket

import (
	"fmt"
	"net"
)

// Duplicate returns a second listener of the same TCP socket, which stays open until both are
// closed. A connection goes to either of them.
func Duplicate(l net.Listener) (net.Listener, error) {
	tcp, ok := l.(*net.TCPListener)
	if !ok {
		return nil, fmt.Errorf("%s is no TCP socket", l.Addr())
	}
	f, err := tcp.File()
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // FileListener has another descriptor
	return net.FileListener(f)
}
