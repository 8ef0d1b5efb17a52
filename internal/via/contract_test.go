package via_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"kproxy/internal/via"
	"kproxy/internal/via/viatest"
)

// The far side resolves the broker's name, both directions carry all bytes, and the end
// of one is not that of the other.
func TestBytesPassBothWays(t *testing.T) {
	for name, newRig := range rigs() {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			conn := r.connect(t, viatest.Broker(t).Far())
			sent := make([]byte, 10<<20)
			random := rand.NewChaCha8([32]byte{1})
			_, _ = random.Read(sent)
			var writing sync.WaitGroup
			writing.Go(func() {
				if _, err := conn.Write(sent); err != nil {
					t.Error(err)
				}
				if err := conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
					t.Error(err)
				}
			})
			got, err := io.ReadAll(conn)
			writing.Wait()
			if err != nil || !bytes.Equal(got, sent) {
				t.Fatalf("got %d bytes, %v; want the %d that were sent", len(got), err, len(sent))
			}
		})
	}
}

func TestSeveralAtOnce(t *testing.T) {
	for name, newRig := range rigs() {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			b := viatest.Broker(t)
			var all sync.WaitGroup
			for range 8 {
				all.Go(func() {
					conn, err := r.DialContext(t.Context(), "tcp", b.Far())
					if err != nil {
						t.Error(err)
						return
					}
					defer conn.Close()
					text := bytes.Repeat([]byte("kafka "), 20_000)
					go func() { _, _ = conn.Write(text) }()
					got := make([]byte, len(text))
					if _, err := io.ReadFull(conn, got); err != nil || !bytes.Equal(got, text) {
						t.Errorf("got something else, %v", err)
					}
				})
			}
			all.Wait()
		})
	}
}

func TestTargetRefused(t *testing.T) {
	for name, newRig := range rigs() {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			gone := viatest.Broker(t)
			gone.Cut()
			if r.proxy == nil {
				conn := r.connect(t, gone.Far())
				_, err := conn.Read(make([]byte, 1))
				if err == nil || errors.Is(err, io.EOF) || !bytes.Contains([]byte(err.Error()), []byte("first line | cannot reach")) {
					t.Errorf("got %v, want the command's failure and its output", err)
				}
				return
			}
			if got, err := viatest.Outcome(t, t.Context(), r.Dialer, gone.Far()); got != via.OutcomeTargetUnreachable {
				t.Errorf("got %s (%v), want %s", got, err, via.OutcomeTargetUnreachable)
			}
			if got, err := viatest.Outcome(t, t.Context(), r.Dialer, viatest.Forbidden+":9092"); got != via.OutcomeTargetRefused {
				t.Errorf("got %s (%v), want %s", got, err, via.OutcomeTargetRefused)
			}
		})
	}
}

// If a proxy stops, its connections end and the next dial fails. When it is back, it is
// used again.
func TestProxyDroppedAndRestored(t *testing.T) {
	for name, newRig := range rigs() {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			if r.proxy == nil {
				return // a command has no far side of its own; TestExecKilled has the equivalent
			}
			b := viatest.Broker(t)
			conn := r.connect(t, b.Far())
			viatest.Exchange(t, conn, "before")
			r.proxy.Cut()
			if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
				t.Errorf("got %v of a connection that was cut, want an error that is no orderly end", err)
			}
			if got, err := viatest.Outcome(t, t.Context(), r.Dialer, b.Far()); got != via.OutcomeProxyUnreachable {
				t.Errorf("got %s (%v), want %s", got, err, via.OutcomeProxyUnreachable)
			}
			r.proxy.Open()
			viatest.Exchange(t, r.connect(t, b.Far()), "after")
		})
	}
}

// A deadline in the past wakes a Read, and loses no byte.
func TestDeadlines(t *testing.T) {
	for name, newRig := range rigs() {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			conn := r.connect(t, viatest.Broker(t).Far())
			viatest.Exchange(t, conn, "first")
			woken := make(chan error)
			go func() {
				_, err := conn.Read(make([]byte, 1))
				woken <- err
			}()
			_ = conn.SetReadDeadline(time.Unix(1, 0))
			if err := <-woken; !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("got %v, want a deadline exceeded", err)
			}
			if n, err := conn.Write([]byte("second")); n != 6 || err != nil {
				t.Fatalf("wrote %d, %v; a read deadline is none of writes", n, err)
			}
			if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("got %v, want a deadline exceeded", err)
			}
			_ = conn.SetReadDeadline(time.Time{})
			got := make([]byte, 6)
			if _, err := io.ReadFull(conn, got); err != nil || string(got) != "second" {
				t.Fatalf("got %q, %v; want the bytes that came meanwhile", got, err)
			}
			_ = conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
			_, err := conn.Read(make([]byte, 1))
			timeout, ok := errors.AsType[net.Error](err)
			if !ok || !timeout.Timeout() {
				t.Fatalf("got %v, want a timeout", err)
			}
			_ = conn.SetReadDeadline(time.Now().Add(time.Hour))
			viatest.Exchange(t, conn, "third")
			_ = conn.SetDeadline(time.Unix(1, 0))
			if _, err := conn.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("got %v, want a deadline exceeded", err)
			}
			_ = conn.SetDeadline(time.Time{})
			viatest.Exchange(t, conn, "fourth")
		})
	}
}

// A peer that does not read holds a Write back, a deadline ends the wait, and the bytes
// that the Write has counted arrive.
func TestWriteDeadline(t *testing.T) {
	for name, newRig := range rigs() {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			read := make(chan struct{})
			count := make(chan int64, 1)
			slow := viatest.NewGate(t, func(conn net.Conn) {
				<-read
				n, _ := io.Copy(io.Discard, conn)
				count <- n
			})
			conn := r.connect(t, slow.Far())
			_ = conn.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
			sent, err := conn.Write(make([]byte, 64<<20))
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("wrote %d, %v; want a deadline exceeded", sent, err)
			}
			close(read)
			_ = conn.SetWriteDeadline(time.Time{})
			n, err := conn.Write([]byte("more"))
			if err != nil {
				t.Fatal(err)
			}
			endWrite(t, conn)
			if got := <-count; got != int64(sent+n) {
				t.Errorf("%d bytes arrived, want the %d that were counted", got, sent+n)
			}
		})
	}
}

// Close wakes a pending Read and a pending Write.
func TestCloseWakes(t *testing.T) {
	for name, newRig := range rigs() {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			mute := viatest.NewGate(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
			conn := r.connect(t, mute.Far())
			woken := make(chan error)
			go func() {
				_, err := conn.Read(make([]byte, 1))
				woken <- err
			}()
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
			if err := <-woken; !errors.Is(err, net.ErrClosed) {
				t.Errorf("got %v, want %v", err, net.ErrClosed)
			}
			if _, err := conn.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
				t.Errorf("got %v, want %v", err, net.ErrClosed)
			}
			if err := conn.SetDeadline(time.Time{}); !errors.Is(err, net.ErrClosed) {
				t.Errorf("got %v, want %v", err, net.ErrClosed)
			}
		})
	}
}

// No dial leaves resources behind, whatever its result.
func TestNothingIsHeld(t *testing.T) {
	for name, newRig := range rigs() {
		t.Run(name, func(t *testing.T) {
			b, gone := viatest.Broker(t), viatest.Broker(t)
			gone.Cut()
			r := newRig(t)
			before := held()
			for range 3 {
				if conn, err := r.DialContext(t.Context(), "tcp", b.Far()); err == nil {
					viatest.Exchange(t, conn, "x")
					conn.Close()
				} else {
					t.Error(err)
				}
				for _, address := range []string{gone.Far(), viatest.Forbidden + ":9092", "-x:1"} {
					if conn, err := r.DialContext(t.Context(), "tcp", address); err == nil {
						conn.Close()
					}
				}
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				if got, err := viatest.Outcome(t, ctx, r.Dialer, b.Far()); got != via.OutcomeCanceled {
					t.Errorf("got %s (%v), want %s", got, err, via.OutcomeCanceled)
				}
			}
			open := r.connect(t, b.Far())
			r.Close()
			if _, err := viatest.Outcome(t, t.Context(), r.Dialer, b.Far()); !errors.Is(err, net.ErrClosed) {
				t.Errorf("got %v, want %v", err, net.ErrClosed)
			}
			open.Close()
			settles(t, before)
		})
	}
}

// If a proxy is silent at any point of its handshake, the dial ends at once with the
// context.
func TestCancelDuringTheHandshake(t *testing.T) {
	says := map[string][]string{
		"socks5": {"", "\x05", "\x05\x02", "\x05\x02\x01\x00", "\x05\x02\x01\x00\x05\x00\x00\x01\x00"},
		"http":   {"", "HTTP/1.1 2", "HTTP/1.1 200 OK\r\nA: b\r\n"},
		"ssh":    {"", "SSH-2.0-mute\r\n"},
	}
	for scheme, words := range says {
		for i, word := range words {
			t.Run(scheme+string(rune('0'+i)), func(t *testing.T) {
				heard := make(chan struct{})
				g := viatest.NewGate(t, func(conn net.Conn) {
					_, _ = io.WriteString(conn, word)
					close(heard)
					_, _ = io.Copy(io.Discard, conn)
				})
				d := viatest.Dialer(t, configFor(t, scheme, g))
				before := held()
				ctx, cancel := context.WithCancel(t.Context())
				go func() { <-heard; cancel() }()
				if got, err := viatest.Outcome(t, ctx, d, viatest.FarName+":9092"); got != via.OutcomeCanceled || !errors.Is(err, context.Canceled) {
					t.Errorf("got %s (%v), want %s", got, err, via.OutcomeCanceled)
				}
				settles(t, holdings{before.goroutines, before.files})
			})
		}
	}
}

// A handshake has a bound of its own.
func TestHandshakeTimeout(t *testing.T) {
	for _, scheme := range []string{"socks5", "http", "ssh"} {
		t.Run(scheme, func(t *testing.T) {
			mute := viatest.NewGate(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
			c := configFor(t, scheme, mute)
			c.Timeout = 20 * time.Millisecond
			got, err := viatest.Outcome(t, t.Context(), viatest.Dialer(t, c), viatest.FarName+":9092")
			if !errors.Is(err, context.DeadlineExceeded) || got == via.OutcomeCanceled {
				t.Errorf("got %s, %v; want a deadline exceeded", got, err)
			}
		})
	}
}

// Bytes of another protocol are reported as such, and bounded.
func TestHostileAnswers(t *testing.T) {
	long := string(bytes.Repeat([]byte("A"), 1<<20))
	tests := []struct {
		name, scheme, response string
		want                   via.Outcome
	}{
		{"socks5: another protocol", "socks5", "HTTP/1.1 400 Bad Request\r\n\r\n", via.OutcomeProxyProtocol},
		{"socks5: SOCKS4", "socks5", "\x04\x00", via.OutcomeProxyProtocol},
		{"socks5: hangs up", "socks5", "", via.OutcomeProxyProtocol},
		{"socks5: hangs up at the login", "socks5", "\x05\x02", via.OutcomeLoginRefused},
		{"socks5: no method", "socks5", "\x05\xff", via.OutcomeLoginRefused},
		{"socks5: a method that was not offered", "socks5", "\x05\x01", via.OutcomeProxyProtocol},
		{"socks5: wrong password", "socks5", "\x05\x02\x01\x01", via.OutcomeLoginRefused},
		{"socks5: hangs up at the request", "socks5", "\x05\x00", via.OutcomeProxyProtocol},
		{"socks5: general failure", "socks5", "\x05\x00\x05\x01\x00\x01", via.OutcomeTargetUnreachable},
		{"socks5: not allowed", "socks5", "\x05\x00\x05\x02\x00\x01", via.OutcomeTargetRefused},
		{"socks5: no names", "socks5", "\x05\x00\x05\x08\x00\x01", via.OutcomeProxyProtocol},
		{"socks5: unknown reply", "socks5", "\x05\x00\x05\x63\x00\x01", via.OutcomeTargetUnreachable},
		{"socks5: broken reply", "socks5", "\x05\x00\x05\x00\x00\x09", via.OutcomeProxyProtocol},
		{"http: another protocol", "http", "SSH-2.0-x\r\n", via.OutcomeProxyProtocol},
		{"http: hangs up", "http", "", via.OutcomeProxyProtocol},
		{"http: hangs up in the head", "http", "HTTP/1.1 200 OK\r\nA:", via.OutcomeProxyProtocol},
		{"http: endless status", "http", "HTTP/1.1 200 " + long, via.OutcomeProxyProtocol},
		{"http: endless fields", "http", "HTTP/1.1 200 OK\r\nA: " + long, via.OutcomeProxyProtocol},
		{"http: redirect", "http", "HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", via.OutcomeProxyProtocol},
		{"http: login", "http", "HTTP/1.1 407 No\r\n\r\n", via.OutcomeLoginRefused},
		{"http: not allowed", "http", "HTTP/1.1 403 No\r\n\r\n", via.OutcomeTargetRefused},
		{"http: no method", "http", "HTTP/1.1 405 No\r\n\r\n", via.OutcomeTargetRefused},
		{"http: timeout", "http", "HTTP/1.1 504 Slow\r\n\r\n", via.OutcomeTargetUnreachable},
		{"ssh: another protocol", "ssh", "HTTP/1.1 400 Bad Request\r\n\r\n", via.OutcomeProxyProtocol},
		{"ssh: hangs up", "ssh", "", via.OutcomeProxyUnreachable},
		{"ssh: endless version", "ssh", long, via.OutcomeProxyProtocol},
		{"ssh: garbage", "ssh", "SSH-2.0-x\r\n" + long, via.OutcomeProxyProtocol},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := viatest.NewGate(t, func(conn net.Conn) {
				go func() { _, _ = io.Copy(io.Discard, conn) }()
				_, _ = io.WriteString(conn, tt.response)
				_ = conn.(*net.TCPConn).CloseWrite()
				<-time.After(20 * time.Millisecond)
			})
			d := viatest.Dialer(t, configFor(t, tt.scheme, g))
			got, err := viatest.Outcome(t, t.Context(), d, viatest.FarName+":9092")
			if got != tt.want || len(err.Error()) > 600 {
				t.Errorf("got %s (%.700v), want %s", got, err, tt.want)
			}
		})
	}
}

// configFor leads to g by scheme, with a login.
func configFor(t *testing.T, scheme string, g *viatest.Gate) via.Config {
	t.Helper()
	if scheme == "ssh" {
		return viatest.SSHConfig(t, g, viatest.NewKey(t), viatest.NewKey(t))
	}
	return via.Config{URL: scheme + "://" + viatest.User + "@" + g.Address, PasswordFile: viatest.File(t, viatest.Password)}
}

func TestProxyUnreachable(t *testing.T) {
	for _, scheme := range []string{"socks5", "http", "ssh"} {
		t.Run(scheme, func(t *testing.T) {
			g := viatest.NewGate(t, func(net.Conn) {})
			g.Cut()
			if got, err := viatest.Outcome(t, t.Context(), viatest.Dialer(t, configFor(t, scheme, g)), viatest.FarName+":9092"); got != via.OutcomeProxyUnreachable {
				t.Errorf("got %s (%v), want %s", got, err, via.OutcomeProxyUnreachable)
			}
		})
	}
}

// A broker's advertised host goes to no proxy, and into no command, unless it is a name
// or an address.
func TestTargetInvalid(t *testing.T) {
	for name, newRig := range rigs() {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			for _, address := range []string{
				"", "host", "host:0", "host:65536", ":9092", "-oProxyCommand=x:9092", "a.-b:9092", "a b:9092", "a;id:9092", "$(id):9092",
				"`id`:9092", "a'b:9092", "a\nb:9092", "a\x00b:9092", "ä:9092", "[fe80::1%$(id)]:9092", "[fe80::1%eth0]:9092", "a..b:9092",
			} {
				if got, err := viatest.Outcome(t, t.Context(), r.Dialer, address); got != via.OutcomeTargetInvalid {
					t.Errorf("%q: got %s (%v), want %s", address, got, err, via.OutcomeTargetInvalid)
				}
			}
			if got, _ := func() (via.Outcome, error) {
				_, err := r.DialContext(t.Context(), "udp", "host:1")
				e, _ := errors.AsType[*via.Error](err)
				return e.Outcome, err
			}(); got != via.OutcomeTargetInvalid {
				t.Errorf("udp: got %s, want %s", got, via.OutcomeTargetInvalid)
			}
		})
	}
}
