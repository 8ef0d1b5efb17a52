package tlsconf

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kproxy/internal/certlab"
)

// told has the events that were reported.
type told struct {
	reloaded int
	refused  []error
	expiring []time.Duration
}

// ear records Events, from whichever goroutine looks at the files.
type ear struct {
	mu sync.Mutex // guards the following
	told
}

func (e *ear) hear(change func(*told)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	change(&e.told)
}

func (e *ear) heard() told {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.told
}

func (e *ear) events() Events {
	return Events{
		Reloaded: func() { e.hear(func(t *told) { t.reloaded++ }) },
		Refused:  func(err error) { e.hear(func(t *told) { t.refused = append(t.refused, err) }) },
		Expiring: func(_ Certificate, left time.Duration) {
			e.hear(func(t *told) { t.expiring = append(t.expiring, left) })
		},
	}
}

// namesShown are the names of the certificate that a client is shown.
func namesShown(t *testing.T, s *Server) string {
	t.Helper()
	m := mustMeet(t, s, &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: true})
	return strings.Join(m.clientState.PeerCertificates[0].DNSNames, ",")
}

// TestReload replaces a certificate and its key in each way that files are
// replaced.
func TestReload(t *testing.T) {
	ca := certlab.NewAuthority(t, "servers")
	before, after := ca.Issue(t, nil, "before"), ca.Issue(t, nil, "after")
	for name, prepare := range map[string]func(t *testing.T, f certlab.Folder) (pair KeyPair, replace func()){
		"rewritten": func(t *testing.T, f certlab.Folder) (KeyPair, func()) {
			t.Helper()
			return pairOf(t, f, "tls", before), func() { pairOf(t, f, "tls", after) }
		},
		"renamed, as editors do": func(t *testing.T, f certlab.Folder) (KeyPair, func()) {
			t.Helper()
			pair := pairOf(t, f, "tls", before)
			return pair, func() {
				next := pairOf(t, f, ".tls.swp", after)
				rename(t, next.Cert, pair.Cert)
				rename(t, next.Key, pair.Key)
			}
		},
		"in Kubernetes' way": func(t *testing.T, f certlab.Folder) (KeyPair, func()) {
			t.Helper()
			// name -> ..data/name, and ..data -> the version's folder
			version := func(name string, id certlab.Identity) {
				if err := os.Mkdir(filepath.Join(string(f), name), 0o700); err != nil {
					t.Fatal(err)
				}
				certlab.Folder(filepath.Join(string(f), name)).Pair(t, "tls", id)
				symlink(t, name, filepath.Join(string(f), "..data_tmp"))
				rename(t, filepath.Join(string(f), "..data_tmp"), filepath.Join(string(f), "..data"))
			}
			version("..2026_01", before)
			pair := KeyPair{Cert: filepath.Join(string(f), "tls.pem"), Key: filepath.Join(string(f), "tls.key")}
			symlink(t, "..data/tls.pem", pair.Cert)
			symlink(t, "..data/tls.key", pair.Key)
			return pair, func() {
				version("..2026_02", after)
				if err := os.RemoveAll(filepath.Join(string(f), "..2026_01")); err != nil {
					t.Fatal(err)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			pair, replace := prepare(t, certlab.NewFolder(t))
			var l ear
			s := mustServer(t, ServerConfig{Certs: []KeyPair{pair}}, l.events())
			if got := namesShown(t, s); got != "before" {
				t.Fatalf("shows %q at first", got)
			}
			if err := s.Reload(); err != nil || l.heard().reloaded != 0 {
				t.Errorf("nothing has changed: error %v, %d reloads", err, l.heard().reloaded)
			}
			replace()
			if err := s.Reload(); err != nil {
				t.Fatal(err)
			}
			if got := namesShown(t, s); got != "after" || l.heard().reloaded != 1 {
				t.Errorf("shows %q after %d reloads, want the new one after one", got, l.heard().reloaded)
			}
			if got := s.Status().Certificates[0].Names[0]; got != "after" {
				t.Errorf("status tells %q", got)
			}
		})
	}
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

func symlink(t *testing.T, to, at string) {
	t.Helper()
	if err := os.Symlink(to, at); err != nil {
		t.Fatal(err)
	}
}

func TestBadFilesKeepTheOldOnes(t *testing.T) {
	l := newLab(t)
	l.config.TicketKeys = []string{l.keyFile(t, "ticket", 1)}
	stranger := l.servers.Issue(t, nil, "stranger")
	for _, row := range []struct {
		name, file string
		data       []byte // nil: the file is removed
		want       string
	}{
		{"no PEM", "edge.pem", []byte("hello"), "edge.pem"},
		{"empty", "edge.pem", []byte{}, "edge.pem"},
		{"missing", "edge.pem", nil, "edge.pem"},
		{"no key", "edge.key", []byte("hello"), "edge.key"},
		{"another's key", "edge.key", stranger.KeyPEM, "edge.key"},
		{"huge", "edge.key", make([]byte, maxFileSize+1), "more than"},
		{"no CA", "clients.pem", []byte("hello"), "clients.pem"},
		{"half a CA", "clients.pem", append(l.clients.PEM, certlab.PEM("CERTIFICATE", []byte("half"))...), "clients.pem"},
		{"a key for a CA", "clients.pem", stranger.KeyPEM, `"PRIVATE KEY"`},
		{"short ticket key", "ticket", make([]byte, ticketKeySize-1), "ticket: a ticket key needs 32 bytes"},
	} {
		t.Run(row.name, func(t *testing.T) {
			path := filepath.Join(string(l.folder), row.file)
			good, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			var ear ear
			s := mustServer(t, l.config, ear.events())
			if row.data == nil {
				err = os.Remove(path)
			} else {
				err = os.WriteFile(path, row.data, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
			for range 3 {
				err = s.Reload()
				if err == nil || !strings.Contains(err.Error(), row.want) {
					t.Fatalf("error %v, want one with %q", err, row.want)
				}
			}
			if len(ear.heard().refused) != 1 || ear.heard().reloaded != 0 {
				t.Errorf("%d refusals and %d reloads were reported, want one refusal", len(ear.heard().refused), ear.heard().reloaded)
			}
			if s.Status().Refused == nil {
				t.Error("status does not tell it")
			}
			if _, err := NewServer(l.config, Events{}); err == nil {
				t.Error("a new Server takes it")
			}
			mustMeet(t, s, l.client())

			l.folder.Write(t, row.file, good)
			if err := s.Reload(); err != nil || s.Status().Refused != nil || ear.heard().reloaded != 1 {
				t.Errorf("mended: error %v, status %v, %d reloads", err, s.Status().Refused, ear.heard().reloaded)
			}
		})
	}
}

func TestReloadDropsNoConnection(t *testing.T) {
	l := newLab(t)
	s := mustServer(t, l.config, Events{})
	near, far := tcpPair(t)
	server := make(chan *tls.Conn, 1)
	go func() {
		conn, err := Accept(deadline(t), far, always(s))
		if err != nil {
			t.Error(err)
		}
		server <- conn
	}()
	client := tls.Client(near, l.client())
	if err := client.HandshakeContext(deadline(t)); err != nil {
		t.Fatal(err)
	}
	conn := <-server
	next := certlab.NewAuthority(t, "others")
	pairOf(t, l.folder, "edge", next.Issue(t, nil, "kafka.example.com"))
	l.folder.Write(t, "clients.pem", next.PEM)
	if err := s.Reload(); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4)
	if _, err := conn.Write([]byte("down")); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Read(buf); err != nil || string(buf) != "down" {
		t.Errorf("read %q, %v", buf, err)
	}
	if _, err := client.Write([]byte("up")); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(buf); err != nil || string(buf[:n]) != "up" {
		t.Errorf("read %q, %v", buf[:n], err)
	}
}

func TestClientReloads(t *testing.T) {
	l := newBrokerLab(t)
	c := mustClient(t, l.certified(t), Events{})
	config := l.broker(t, broker)
	config.ClientAuth = tls.RequireAnyClientCert

	next := certlab.NewAuthority(t, "next")
	pairOf(t, l.folder, "kproxy", next.Issue(t, nil, "kproxy-2"))
	l.folder.Write(t, "ca.pem", append(l.ca.PEM, next.PEM...))
	if err := c.Reload(); err != nil {
		t.Fatal(err)
	}
	config.Certificates = append(config.Certificates[:0], next.Issue(t, nil, broker).Pair)
	state, err := reach(t, c, config, broker)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := state.PeerCertificates[0].Subject.CommonName, "kproxy-2"; got != want {
		t.Errorf("the broker sees %q, want %q", got, want)
	}
}

// TestWatch tests that a change is seen at one look and used at the next, and that an
// unfinished one is not used.
func TestWatch(t *testing.T) {
	f, ca := certlab.NewFolder(t), certlab.NewAuthority(t, "servers")
	one, two, three := ca.Issue(t, nil, "one"), ca.Issue(t, nil, "two"), ca.Issue(t, nil, "three")
	synctest.Test(t, func(t *testing.T) {
		pair := pairOf(t, f, "tls", one)
		var ear ear
		s := mustServer(t, ServerConfig{Certs: []KeyPair{pair}}, ear.events())
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); Watch(ctx, 5*time.Second, s) }()
		<-time.After(time.Second) // the looks are at 5, 10, 15, …
		look := func() { <-time.After(5 * time.Second); synctest.Wait() }
		check := func(what, name string, reloaded, refused int) {
			t.Helper()
			if got := s.Status().Certificates[0].Names[0]; got != name || ear.heard().reloaded != reloaded || len(ear.heard().refused) != refused {
				t.Errorf("%s: %q after %d reloads and %d refusals, want %q, %d, %d",
					what, got, ear.heard().reloaded, len(ear.heard().refused), name, reloaded, refused)
			}
		}
		f.Write(t, "tls.pem", two.CertPEM)
		look()
		check("half changed", "one", 0, 0)
		f.Write(t, "tls.key", two.KeyPEM)
		look()
		check("changed", "one", 0, 0)
		look()
		check("settled", "two", 1, 0)
		look()
		check("nothing new", "two", 1, 0)
		f.Write(t, "tls.key", three.KeyPEM)
		look()
		look()
		look()
		check("bad for long", "two", 1, 1)
		f.Write(t, "tls.pem", three.CertPEM)
		look()
		look()
		check("good again", "three", 2, 1)
		cancel()
		<-done
	})
}

// A file of CAs ends with the last of them, on both sides.
func TestEndOfAuthorities(t *testing.T) {
	f := certlab.NewFolder(t)
	ca := certlab.NewAuthority(t, "next")
	old := ca.Issue(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(time.Hour) }, "old").CertPEM
	both := f.Write(t, "ca.pem", slices.Concat(old, ca.PEM, old))
	s := mustServer(t, ServerConfig{
		Certs: []KeyPair{pairOf(t, f, "tls", ca.Issue(t, nil, "kafka.example.com"))}, ClientCA: both, ClientAuth: "required",
	}, Events{})
	c, err := NewClient(ClientConfig{CA: both}, Events{})
	if err != nil {
		t.Fatal(err)
	}
	for side, got := range map[string][]Certificate{"server": s.Status().Certificates[1:], "client": c.Status().Certificates} {
		if len(got) != 1 || got[0].File != both || got[0].Subject != "CN=next" || !got[0].NotAfter.Equal(ca.Cert.NotAfter) {
			t.Errorf("%s: got %+v, want %s until %v", side, got, both, ca.Cert.NotAfter)
		}
	}
}

func TestExpiryIsToldAtEachThresholdOnce(t *testing.T) {
	f := certlab.NewFolder(t)
	synctest.Test(t, func(t *testing.T) {
		const day = 24 * time.Hour
		ca := certlab.NewAuthority(t, "servers")
		lasting := func(d time.Duration) certlab.Identity {
			return ca.Issue(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(d) }, "kafka.example.com")
		}
		var ear ear
		s := mustServer(t, ServerConfig{Certs: []KeyPair{pairOf(t, f, "tls", lasting(31*day+time.Hour))}}, ear.events())
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); Watch(ctx, time.Hour, s) }()
		<-time.After(40*day + time.Minute)
		synctest.Wait()
		want := []time.Duration{30 * day, 7 * day, day, 0}
		if got := ear.heard().expiring; !slices.Equal(got, want) {
			t.Errorf("warned at %v, want %v", got, want)
		}
		if got, want := s.Status().Certificates[0].NotAfter, time.Now(); !got.Before(want) {
			t.Errorf("ends at %v, which is not before %v", got, want)
		}

		// The next one has another certificate's warnings before it, the last of
		// those that apply first.
		pairOf(t, f, "tls", lasting(5*day))
		ear.hear(func(t *told) { t.expiring = nil })
		<-time.After(3 * time.Hour)
		synctest.Wait()
		if got := ear.heard().expiring; len(got) != 1 || got[0] < 4*day {
			t.Errorf("warned at %v, want once, days before", got)
		}
		cancel()
		<-done
	})
}
