package viassh_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/crypto/ssh/knownhosts"

	"kproxy/internal/via"
	"kproxy/internal/via/viatest"
)

// connect dials, and closes at the test's end.
func connect(t *testing.T, d *via.Dialer, address string) net.Conn {
	t.Helper()
	conn, err := d.DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// All dials share one connection, those that come while it is being made too.
func TestSSHShared(t *testing.T) {
	host, key := viatest.NewKey(t), viatest.NewKey(t)
	g := viatest.SSH(t, host.Signer, key.Signer.PublicKey())
	d := viatest.Dialer(t, viatest.SSHConfig(t, g, host, key))
	b := viatest.Broker(t)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			conn, err := d.DialContext(t.Context(), "tcp", b.Far())
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			viatest.Exchange(t, conn, "x")
			if conn.RemoteAddr().String() != b.Far() {
				t.Errorf("leads to %s, want %s", conn.RemoteAddr(), b.Far())
			}
		})
	}
	all.Wait()
	if got := g.Count(); got != 1 {
		t.Errorf("%d connections to the proxy, want 1", got)
	}
}

// A far side that disappears silently is detected in bounded time, and replaced.
func TestSSHFarSideFallsSilent(t *testing.T) {
	host, key := viatest.NewKey(t), viatest.NewKey(t)
	g := viatest.SSH(t, host.Signer, key.Signer.PublicKey())
	middle := viatest.NewHole(t, g.Address)
	c := viatest.SSHConfig(t, middle.Gate, host, key)
	c.KeepAlive = 500 * time.Millisecond
	d := viatest.Dialer(t, c)
	b := viatest.Broker(t)
	conn := connect(t, d, b.Far())
	viatest.Exchange(t, conn, "x")
	middle.Swallow()
	for i := range 2 {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		got, err := viatest.Outcome(t, ctx, d, b.Far())
		cancel()
		if i > 0 && got != via.OutcomeProxyUnreachable { // during the first, bytes under way may come
			t.Errorf("got %s (%v), want %s: it is not the broker that is silent", got, err, via.OutcomeProxyUnreachable)
		}
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("got %v of a connection whose far side is gone, want an error that is no orderly end", err)
	}
	viatest.Exchange(t, connect(t, d, b.Far()), "again")
}

// A far side that is long silent about one broker blocks no other dial, and no caller.
func TestSSHOpenIsGivenUp(t *testing.T) {
	host, key := viatest.NewKey(t), viatest.NewKey(t)
	asked, response, released := make(chan struct{}), make(chan struct{}), make(chan struct{})
	config := &ssh.ServerConfig{NoClientAuth: true}
	config.AddHostKey(host.Signer)
	g := viatest.NewGate(t, func(conn net.Conn) {
		server, channels, requests, err := ssh.NewServerConn(conn, config)
		if err != nil {
			return
		}
		defer server.Close()
		go ssh.DiscardRequests(requests)
		for offer := range channels {
			close(asked)
			<-response
			channel, requests, err := offer.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			go ssh.DiscardRequests(requests)
			_, _ = io.Copy(io.Discard, channel)
			channel.Close()
			close(released)
		}
	})
	d := viatest.Dialer(t, viatest.SSHConfig(t, g, host, key))
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	if got, err := viatest.Outcome(t, ctx, d, viatest.FarName+":9092"); got != via.OutcomeCanceled {
		t.Errorf("got %s (%v), want %s", got, err, via.OutcomeCanceled)
	}
	close(response)
	<-released // the channel that came too late was closed
}

// The attempt to connect ends with the last waiting caller, and not with others.
func TestSSHOneOfTwoGivesUp(t *testing.T) {
	host, key := viatest.NewKey(t), viatest.NewKey(t)
	g := viatest.SSH(t, host.Signer, key.Signer.PublicKey())
	slow := make(chan struct{})
	dialled := make(chan struct{})
	c := viatest.SSHConfig(t, g, host, key)
	c.DialProxy = func(ctx context.Context, network, address string) (net.Conn, error) {
		close(dialled)
		<-slow
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	d := viatest.Dialer(t, c)
	b := viatest.Broker(t)
	ctx, cancel := context.WithCancel(t.Context())
	var both sync.WaitGroup
	both.Go(func() { _, _ = viatest.Outcome(t, ctx, d, b.Far()) })
	<-dialled
	both.Go(func() {
		if conn, err := d.DialContext(t.Context(), "tcp", b.Far()); err != nil {
			t.Error(err)
		} else {
			conn.Close()
		}
	})
	<-time.After(10 * time.Millisecond) // for the second to wait; if it does not, it dials alone and dialled panics
	cancel()
	close(slow)
	both.Wait()
}

func TestSSHLogins(t *testing.T) {
	t.Setenv("SSH_AUTH_SOCK", "")
	host, key := viatest.NewKey(t), viatest.NewKey(t)
	g := viatest.SSH(t, host.Signer, key.Signer.PublicKey())
	b := viatest.Broker(t)
	base := viatest.SSHConfig(t, g, host, key)
	base.KeyFile = ""
	var strangers []viatest.Key // more than a server allows attempts
	for range 8 {
		strangers = append(strangers, viatest.NewKey(t))
	}
	tests := map[string]struct {
		change func(c *via.Config)
		want   via.Outcome // empty: it works
	}{
		"key":                 {func(c *via.Config) { c.KeyFile = viatest.File(t, key.PEM) }, ""},
		"key with a BOM":      {func(c *via.Config) { c.KeyFile = viatest.File(t, "\ufeff"+key.PEM) }, ""},
		"password with a BOM": {func(c *via.Config) { c.PasswordFile = viatest.File(t, "\ufeff"+viatest.Password+"\r\n") }, ""},
		"encrypted key": {func(c *via.Config) {
			c.KeyFile, c.PassphraseFile = viatest.File(t, key.Encrypted(t, "p")), viatest.File(t, "p\n")
		}, ""},
		"password": {func(c *via.Config) { c.PasswordFile = viatest.File(t, viatest.Password+"\n") }, ""},
		"agent":    {func(c *via.Config) { c.AgentSocket = sshAgent(t, key) }, ""},
		"agent's environment": {func(*via.Config) {
			t.Setenv("SSH_AUTH_SOCK", sshAgent(t, viatest.NewKey(t), key))
		}, ""},
		"another key":      {func(c *via.Config) { c.KeyFile = viatest.File(t, viatest.NewKey(t).PEM) }, via.OutcomeLoginRefused},
		"another password": {func(c *via.Config) { c.PasswordFile = viatest.File(t, viatest.Password+"x") }, via.OutcomeLoginRefused},
		"agent without the key": {func(c *via.Config) {
			c.AgentSocket = sshAgent(t, viatest.NewKey(t))
		}, via.OutcomeLoginRefused},
		"agent with too many keys": {func(c *via.Config) {
			c.AgentSocket = sshAgent(t, append(strangers, key)...)
		}, via.OutcomeLoginRefused},
		"the right one of too many": {func(c *via.Config) {
			c.AgentSocket = sshAgent(t, append(strangers, key)...)
			c.KeyFile = viatest.File(t, string(ssh.MarshalAuthorizedKey(key.Signer.PublicKey())))
		}, ""},
		"a public key that the agent does not have": {func(c *via.Config) {
			c.AgentSocket = sshAgent(t, strangers...)
			c.KeyFile = viatest.File(t, string(ssh.MarshalAuthorizedKey(key.Signer.PublicKey())))
		}, via.OutcomeCredentials},
		"empty agent": {func(c *via.Config) { c.AgentSocket = sshAgent(t) }, via.OutcomeCredentials},
		"no agent":    {func(c *via.Config) { c.AgentSocket = filepath.Join(t.TempDir(), "gone") }, via.OutcomeCredentials},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := base
			tt.change(&c)
			d := viatest.Dialer(t, c)
			if tt.want == "" {
				viatest.Exchange(t, connect(t, d, b.Far()), "x")
				return
			}
			got, err := viatest.Outcome(t, t.Context(), d, b.Far())
			if got != tt.want {
				t.Errorf("got %s (%v), want %s", got, err, tt.want)
			}
			if strings.Contains(name, "too many") && !strings.Contains(err.Error(), "the agent has 9 keys") {
				t.Errorf("got %v, want how many keys were offered", err)
			}
		})
	}
}

// sshAgent is an agent with keys, at the path of its socket.
func sshAgent(t *testing.T, keys ...viatest.Key) string {
	t.Helper()
	ring := agent.NewKeyring()
	for _, key := range keys {
		if err := ring.Add(agent.AddedKey{PrivateKey: key.Private}); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "agent")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _ = agent.ServeAgent(ring, conn); conn.Close() }()
		}
	}()
	return path
}

func TestSSHHostKeys(t *testing.T) {
	host, key, stranger := viatest.NewKey(t), viatest.NewKey(t), viatest.NewKey(t)
	b := viatest.Broker(t)
	line := func(g *viatest.Gate, k ssh.PublicKey) string {
		return knownhosts.Line([]string{knownhosts.Normalize(g.Address)}, k) + "\n"
	}
	t.Run("another key", func(t *testing.T) {
		g := viatest.SSH(t, stranger.Signer, key.Signer.PublicKey())
		got, err := viatest.Outcome(t, t.Context(), viatest.Dialer(t, viatest.SSHConfig(t, g, host, key)), b.Far())
		if got != via.OutcomeProxyUntrusted || !strings.Contains(err.Error(), "remove line 1") {
			t.Errorf("got %s (%v), want %s and the line to remove", got, err, via.OutcomeProxyUntrusted)
		}
	})
	t.Run("written otherwise", func(t *testing.T) {
		g := viatest.SSH(t, host.Signer, key.Signer.PublicKey())
		c := viatest.SSHConfig(t, g, host, key)
		_, port, _ := net.SplitHostPort(g.Address)
		c.URL = "ssh://" + viatest.User + "@LocalHost.:" + port
		c.KnownHosts = viatest.File(t, knownhosts.Line([]string{"[localhost]:" + port}, host.Signer.PublicKey())+"\n")
		c.DialProxy = g.Dial
		viatest.Exchange(t, connect(t, viatest.Dialer(t, c), b.Far()), "x")
	})
	t.Run("revoked", func(t *testing.T) {
		g := viatest.SSH(t, host.Signer, key.Signer.PublicKey())
		c := viatest.SSHConfig(t, g, host, key)
		c.KnownHosts = viatest.File(t, "@revoked * "+strings.SplitN(line(g, host.Signer.PublicKey()), " ", 2)[1]+line(g, host.Signer.PublicKey()))
		if got, err := viatest.Outcome(t, t.Context(), viatest.Dialer(t, c), b.Far()); got != via.OutcomeProxyUntrusted {
			t.Errorf("got %s (%v), want %s", got, err, via.OutcomeProxyUntrusted)
		}
	})
	t.Run("by an authority", func(t *testing.T) {
		authority := viatest.NewKey(t)
		cert := &ssh.Certificate{Key: host.Signer.PublicKey(), CertType: ssh.HostCert, ValidBefore: ssh.CertTimeInfinity, ValidPrincipals: []string{"127.0.0.1"}}
		if err := cert.SignCert(rand.Reader, authority.Signer); err != nil {
			t.Fatal(err)
		}
		signer, err := ssh.NewCertSigner(cert, host.Signer)
		if err != nil {
			t.Fatal(err)
		}
		g := viatest.SSH(t, signer, key.Signer.PublicKey())
		c := viatest.SSHConfig(t, g, host, key)
		c.URL, c.DialProxy = fmt.Sprintf("ssh://%s@127.0.0.1:%d", viatest.User, g.Port()), g.Dial
		c.KnownHosts = viatest.File(t, fmt.Sprintf("@cert-authority [127.0.0.1]:%d %s", g.Port(), ssh.MarshalAuthorizedKey(authority.Signer.PublicKey())))
		viatest.Exchange(t, connect(t, viatest.Dialer(t, c), b.Far()), "x")
	})
	t.Run("of one type among two", func(t *testing.T) {
		private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		other, err := ssh.NewSignerFromKey(private)
		if err != nil {
			t.Fatal(err)
		}
		both := &ssh.ServerConfig{NoClientAuth: true}
		both.AddHostKey(other)
		both.AddHostKey(host.Signer)
		g := viatest.NewGate(t, func(conn net.Conn) {
			if server, _, requests, err := ssh.NewServerConn(conn, both); err == nil {
				go ssh.DiscardRequests(requests)
				_ = server.Wait()
			}
		})
		c := viatest.SSHConfig(t, g, host, key)
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		if got, err := viatest.Outcome(t, ctx, viatest.Dialer(t, c), b.Far()); got != via.OutcomeTargetUnreachable {
			t.Errorf("got %s (%v), want %s: the host's key is known", got, err, via.OutcomeTargetUnreachable)
		}
	})
}
