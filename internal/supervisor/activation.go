package supervisor

import (
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/coreos/go-systemd/v22/activation"

	"kproxy/internal/foreign"
)

// Socket is a listening socket that systemd has opened.
type Socket struct {
	Name     string // of LISTEN_FDNAMES; a number if it has none
	Listener net.Listener
}

// Sockets returns the sockets that systemd has opened for this process, and removes their variables
// from the environment. Variables for another process do not count. Only TCP sockets that listen can
// be used: another one is an error.
func Sockets() ([]Socket, error) {
	files := activation.Files(true)
	var all []Socket
	var err error
	for _, f := range files {
		if err == nil {
			var s Socket
			if s, err = socketOf(f); err == nil {
				all = append(all, s)
			}
		}
		_ = f.Close() // the listener has another descriptor
	}
	if err != nil {
		for _, s := range all {
			_ = s.Listener.Close()
		}
		return nil, err
	}
	return all, nil
}

func socketOf(f *os.File) (Socket, error) {
	name := strings.TrimPrefix(foreign.Line(f.Name()), "LISTEN_FD_")
	l, err := net.FileListener(f)
	if err == nil {
		if _, isTCP := l.(*net.TCPListener); isTCP {
			return Socket{name, l}, nil
		}
		_ = l.Close()
	}
	return Socket{}, fmt.Errorf("the socket %s of systemd is not a TCP socket that listens; use ListenStream= with an address and a port in the socket unit", name)
}
