package handover

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
)

// Socket is a listening socket, and the address by which the new process asks for it.
type Socket struct {
	Address  string
	Listener net.Listener
}

// Sockets are listening sockets that were there before the process: those of its predecessor, or
// those of the service manager. nil has none. It is safe for concurrent use.
type Sockets struct {
	mu  sync.Mutex // guards the following
	all map[string]net.Listener
}

// Add adds a socket. The error says that there is one of the address.
func (s *Sockets) Add(address string, socket net.Listener) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[string]net.Listener{}
	}
	if s.all[address] != nil {
		return fmt.Errorf("two sockets of the address %q", address)
	}
	s.all[address] = socket
	return nil
}

// Take returns the socket of an address, which is the caller's then; nil: there is none.
func (s *Sockets) Take(address string) net.Listener {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	socket := s.all[address]
	delete(s.all, address)
	return socket
}

// Addrs returns where the sockets that were not taken listen.
func (s *Sockets) Addrs() []net.Addr {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []net.Addr
	for _, socket := range s.all {
		all = append(all, socket.Addr())
	}
	return all
}

// Close closes the sockets that were not taken, and returns their addresses in order.
func (s *Sockets) Close() []string {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var left []string
	for address, socket := range s.all {
		_ = socket.Close() // it only accepts
		left = append(left, address)
	}
	clear(s.all)
	slices.Sort(left)
	return left
}

// adopt makes a listener of a descriptor, which it closes. The descriptor must be a TCP socket that
// listens at the port of address.
func adopt(descriptor int, address string) (net.Listener, error) {
	socket, err := listenerOf(descriptor)
	if err != nil {
		return nil, fmt.Errorf("the socket of %q: %w", address, err)
	}
	tcp, ok := socket.(*net.TCPListener)
	if !ok {
		_ = socket.Close()
		return nil, fmt.Errorf("the socket of %q is not TCP", address)
	}
	_, bound, err := net.SplitHostPort(tcp.Addr().String())
	_, port, other := net.SplitHostPort(address)
	if err := errors.Join(err, other); err != nil || bound != port {
		_ = tcp.Close()
		return nil, fmt.Errorf("the socket of %q listens at %s", address, tcp.Addr())
	}
	return tcp, nil
}

// lines splits the text of an error into those that a message may have.
func lines(text string) []string {
	all := strings.Split(text, "\n")
	if len(all) > maxLines {
		all = append(all[:maxLines-1], fmt.Sprintf("%d more lines", len(all)-maxLines+1))
	}
	for i, line := range all {
		if runes := []rune(line); len(runes) > maxLine {
			all[i] = string(runes[:maxLine])
		}
	}
	return all
}
