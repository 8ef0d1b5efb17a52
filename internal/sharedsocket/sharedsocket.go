// Package sharedsocket hands a listening socket from one server of the process to another, or to
// another process.
package sharedsocket

import (
	"fmt"
	"net"
	"os"
)

// filer is a TCP socket: a [*net.TCPListener], or a type that embeds one.
type filer interface {
	net.Listener

	File() (*os.File, error)
}

// CanDuplicate reports whether Duplicate knows the kind of a listener.
func CanDuplicate(l net.Listener) bool {
	_, ok := l.(filer)
	return ok
}

// Duplicate returns a second listener of the same TCP socket, which stays open until both are
// closed. A connection goes to either of them.
func Duplicate(l net.Listener) (net.Listener, error) {
	tcp, ok := l.(filer)
	if !ok {
		return nil, fmt.Errorf("%s is no TCP socket", l.Addr())
	}
	return duplicate(tcp)
}
