package resolver_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"kproxy/internal/resolver"
)

// server is a name server that ignores the first ports that ask for each kind of record.
type server struct {
	net.PacketConn
	ignore int

	garbage atomic.Bool // an ignored query gets bytes that are no response, again and again

	mu      sync.Mutex // guards the following
	queries map[dnsmessage.Type]int
	ports   map[dnsmessage.Type]map[string]bool // whether it ignores them
}

func newServer(t *testing.T, ignore int) *server {
	t.Helper()
	conn, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{PacketConn: conn, ignore: ignore, queries: make(map[dnsmessage.Type]int), ports: make(map[dnsmessage.Type]map[string]bool)}
	done := make(chan struct{})
	t.Cleanup(func() {
		s.Close()
		<-done
	})
	go func() {
		defer close(done)
		s.serve(t)
	}()
	return s
}

func (s *server) serve(t *testing.T) {
	t.Helper()
	buffer := make([]byte, 512)
	for {
		n, from, err := s.ReadFrom(buffer)
		if err != nil {
			return
		}
		var m dnsmessage.Message
		if err := m.Unpack(buffer[:n]); err != nil {
			t.Error(err)
			return
		}
		q := m.Questions[0]
		s.mu.Lock()
		s.queries[q.Type]++
		ports := s.ports[q.Type]
		if ports == nil {
			ports = make(map[string]bool)
			s.ports[q.Type] = ports
		}
		lost, known := ports[from.String()]
		if !known {
			lost = len(ports) < s.ignore
			ports[from.String()] = lost
		}
		s.mu.Unlock()
		if lost && s.garbage.Load() {
			go func() { // ends with the server
				for err := error(nil); err == nil; <-time.After(20 * time.Millisecond) {
					_, err = s.WriteTo([]byte("x"), from)
				}
			}()
		}
		if lost {
			continue
		}
		m = dnsmessage.Message{Header: dnsmessage.Header{ID: m.ID, Response: true, RecursionAvailable: true}, Questions: m.Questions}
		if q.Type == dnsmessage.TypeA {
			m.Answers = []dnsmessage.Resource{{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1},
				Body:   &dnsmessage.AResource{A: [4]byte{192, 0, 2, 1}},
			}}
		}
		response, err := m.Pack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = s.WriteTo(response, from)
	}
}

// at makes a resolver ask this server.
func (s *server) at(r *net.Resolver) *net.Resolver {
	dial := r.Dial
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return dial(ctx, network, s.LocalAddr().String())
	}}
}

// A query without a response is sent again, by another port, long before Go's own five seconds.
func TestLostQueries(t *testing.T) {
	for _, lost := range []int{0, 1, 2} {
		s := newServer(t, lost)
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()
		got, err := s.at(resolver.New(50*time.Millisecond)).LookupNetIP(ctx, "ip", "broker.example.")
		if err != nil || len(got) != 1 || got[0].String() != "192.0.2.1" {
			t.Errorf("%d lost: got %v, %v", lost, got, err)
		}
		s.mu.Lock()
		if n := s.queries[dnsmessage.TypeA]; n < lost+1 {
			t.Errorf("%d lost: %d queries", lost, n)
		}
		s.mu.Unlock()
	}
}

// A name server that never responds is asked a few times, each time after a longer wait.
func TestSilence(t *testing.T) {
	s := newServer(t, 1<<20)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := s.at(resolver.New(50*time.Millisecond)).LookupNetIP(ctx, "ip4", "broker.example.")
	if why, ok := errors.AsType[*net.DNSError](err); !ok || !why.IsTimeout {
		t.Errorf("got %v", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// At 0, 50, 150, 350 and 750 ms; fewer where the machine is busy.
	if n := s.queries[dnsmessage.TypeA]; n < 2 || n > 5 {
		t.Errorf("%d queries in a second", n)
	}
}

// Responses that do not fit do not put off the next query.
func TestResponsesThatDoNotFit(t *testing.T) {
	s := newServer(t, 1)
	s.garbage.Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if got, err := s.at(resolver.New(200*time.Millisecond)).LookupNetIP(ctx, "ip4", "broker.example."); err != nil || len(got) != 1 {
		t.Errorf("got %v, %v", got, err)
	}
}
