//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"kproxy/e2e/lab"
	"kproxy/internal/certlab"
)

const (
	reloadEach      = 20 * time.Second
	certificateEach = time.Minute
	leadersEach     = 15 * time.Second
	restartEach     = 15 * time.Minute
	// settle bounds the time until a new certificate is in use, and until a broker is back.
	settle = time.Minute
)

// variant has the parts of the configuration that change.
type variant struct {
	spare, keys, rest string
}

func usual() variant { return variant{rest: "log: {level: info, format: json}\n"} }

// yaml is kproxy's configuration. The listeners plain and edge are always the same.
func (s *site) yaml(v variant) string {
	return fmt.Sprintf(`
clusters:
  soak:
    bootstrap: ["broker-1.vpc.invalid:9092", "broker-2.vpc.invalid:9092", "broker-3.vpc.invalid:9092"]
    dial: [{match: "broker-*.vpc.invalid:9092", to: "127.2.1.{1}:9092"}]
%s    listeners:
      plain: {bind: "%s:%d", nodes: {ports: %d-%d, first_node: 1}}
      edge: {bind: "%s:%d", advertise: "%s:%d", nodes: {sni: "b{node}%s:%d"}, tls: {certs: [{cert: %q, key: %q}]}}
%sadmin: {bind: %q, pprof: true}
%s`, v.keys, host, bootstrap, firstNode, firstNode+brokers-1,
		host, edgePort, edge, edgePort, domain, edgePort, s.cert, s.key, v.spare, admin, v.rest)
}

// change returns the next configuration, and whether it can be applied: every tenth cannot.
func (s *site) change(n int) (v variant, good bool) {
	v = usual()
	if n%10 == 9 {
		v.rest += "nonsense: 1\n"
		return v, false
	}
	for _, change := range []func(){
		func() {
			v.spare = fmt.Sprintf("      spare: {bind: %q, nodes: {ports: 19201-19203, first_node: 1}}\n", host+":19200")
		},
		func() {
			v.spare = fmt.Sprintf("      spare: {bind: %q, nodes: {ports: 19301-19303, first_node: 1}, limits: {max_connections: 1}}\n", host+":19300")
		},
		func() { v.keys = "    connect_timeout: 7s\n    forget_after: 30m\n" },
		func() { v.rest += "limits: {max_connections: 3000, idle_timeout: 10m, max_held_bytes: 67108864}\n" },
		func() { v.rest += "drain: {timeout: 3s, delay: 1s}\n" },
	} {
		if rand.IntN(2) == 0 {
			change()
		}
	}
	return v, true
}

// each calls f at an interval until ctx ends.
func each(ctx context.Context, d time.Duration, f func(n int)) {
	tick := time.NewTicker(d)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			f(n)
		}
	}
}

// reloads changes the configuration until ctx ends.
func (s *site) reloads(ctx context.Context) {
	each(ctx, reloadEach, func(n int) {
		v, good := s.change(n)
		if err := s.reload(ctx, v, good); err != nil {
			s.fault(ctx, "reload %d: %v", n, err)
			return
		}
		s.count(map[bool]string{true: "reloads", false: "reloads of a wrong file, refused"}[good], 1)
	})
}

func (s *site) reload(ctx context.Context, v variant, good bool) error {
	if err := replace(filepath.Join(s.dir, "kproxy.yaml"), []byte(s.yaml(v))); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+admin+"/-/reload", nil)
	if err != nil {
		return err
	}
	client := http.Client{Transport: &http.Transport{DialContext: s.net.Dial, DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var body bytes.Buffer
	if _, err := body.ReadFrom(resp.Body); err != nil {
		return err
	}
	if want := map[bool]int{true: http.StatusOK, false: http.StatusUnprocessableEntity}[good]; resp.StatusCode != want {
		return fmt.Errorf("got %s, want %d: %s", resp.Status, want, body.String())
	}
	return nil
}

// replace replaces a file in one step: kproxy watches it.
func replace(file string, data []byte) error {
	next := file + ".next"
	return errors.Join(os.WriteFile(next, data, 0o600), os.Rename(next, file))
}

// certificates makes the authority and the first certificate of the TLS listener.
func (s *site) certificates() (err error) {
	defer func() {
		if failed := recover(); failed != nil {
			err = fmt.Errorf("make certificates: %v", failed)
		}
	}()
	t := noTest{s.dir}
	s.files = certlab.Folder(s.dir)
	s.ca = certlab.NewAuthority(t, "soak")
	s.cert, s.key = s.files.Pair(t, "edge", s.ca.Issue(t, nil, edge, "*"+domain))
	return nil
}

// renewals gives the TLS listener new certificates until ctx ends.
func (s *site) renewals(ctx context.Context) {
	each(ctx, certificateEach, func(n int) {
		if err := s.renew(ctx); err != nil {
			s.fault(ctx, "certificate %d: %v", n, err)
			return
		}
		s.count("certificates changed", 1)
	})
}

// renew replaces the certificate and its key, and waits until kproxy has noticed.
func (s *site) renew(ctx context.Context) (err error) {
	defer func() {
		if failed := recover(); failed != nil {
			err = fmt.Errorf("make a certificate: %v", failed)
		}
	}()
	id := s.ca.Issue(noTest{s.dir}, nil, edge, "*"+domain)
	if err := errors.Join(replace(s.key, id.KeyPEM), replace(s.cert, id.CertPEM)); err != nil {
		return err
	}
	return lab.Poll(ctx, settle, func() error {
		conn, err := s.handshake(ctx, edge)
		if err != nil {
			return err
		}
		defer conn.Close()
		if got := conn.ConnectionState().PeerCertificates[0].SerialNumber; got.Cmp(id.Pair.Leaf.SerialNumber) != 0 {
			return errors.New("kproxy serves another certificate")
		}
		return nil
	})
}

// noTest stands for a test. It panics where a test would fail.
type noTest struct{ dir string }

func (noTest) Helper()           {}
func (noTest) Fatal(args ...any) { panic(fmt.Sprint(args...)) }
func (n noTest) TempDir() string { return n.dir }

// moves moves the leaders of every second partition of the topics of the part until ctx
// ends.
func (l *loads) moves(ctx context.Context) {
	each(ctx, leadersEach, func(n int) {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, topic := range l.topics {
			order := map[int32][]int32{}
			for p := int32(n % 2); p < partitions; p += 2 {
				first := int32(n/2) + p
				order[p] = []int32{1 + first%brokers, 1 + (first+1)%brokers, 1 + (first+2)%brokers}
			}
			if changed, err := l.cluster.Assign(ctx, topic, order); err == nil {
				l.count("leaders moved", changed)
			} // else a broker is away, or the topic is not there yet
		}
	})
}

// restarts restarts one broker after the other until ctx ends.
func (s *site) restarts(ctx context.Context) {
	each(ctx, restartEach, func(n int) {
		s.restarting.Store(true)
		defer s.restarting.Store(false)
		id := int32(n%brokers) + 1
		if err := s.cluster.Restart(ctx, id, (*lab.Broker).Stop); err != nil {
			s.fault(ctx, "restart of broker %d: %v", id, err)
			return
		}
		s.count("brokers restarted", 1)
		s.progress("broker %d restarted", id)
	})
}
