//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"kproxy/e2e/lab"
)

// site is the network of a run, with the programs that its suites share.
type site struct {
	dir      string // of all files; it goes with the run unless E2E_DIR is set
	keep     bool
	net      *lab.Namespace
	kproxy   string // the binary
	test2go  string // Go's converter from a test binary's output to JSON
	goTool   string
	seatsNow atomic.Int32

	kgoOnce        sync.Once // builds the following, which every kgo suite uses
	kgoBin, kgoDir string
	kgoVersion     string
	kgoErr         error
}

// outside is an address of the namespace that is not on 127.0.0.0/8. Without one,
// getaddrinfo finds no address for any name (AI_ADDRCONFIG).
const outside = "10.213.40.1"

func newSite(ctx context.Context) (s *site, err error) {
	s = &site{keep: os.Getenv("E2E_DIR") != ""}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.dir, err = os.MkdirTemp(os.Getenv("E2E_DIR"), "kproxy-suites-"); err != nil {
		return s, err
	}
	if s.goTool, err = lab.Tool("go", "the Go toolchain"); err != nil {
		return s, err
	}
	if s.kproxy, err = lab.BuildKproxy(ctx, s.dir); err != nil {
		return s, err
	}
	s.test2go = filepath.Join(s.dir, "test2json")
	if _, err = s.build(ctx, s.dir, "build", "-o", s.test2go, "cmd/test2json"); err != nil {
		return s, err
	}
	if s.net, err = lab.NewNamespace("kp-suites"); err != nil {
		return s, err
	}
	if err = s.net.Run("ip", "addr", "add", outside+"/32", "dev", "lo"); err != nil {
		return s, err
	}
	return s, s.net.Hosts(nil)
}

func (s *site) close() {
	if s.net != nil {
		s.net.Close()
	}
	if !s.keep && s.dir != "" {
		_ = os.RemoveAll(s.dir)
	}
}

// build runs the go command in a directory.
func (s *site) build(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := lab.Command(ctx, s.goTool, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off")
	out, err := lab.Output(cmd)
	if err != nil {
		return "", fmt.Errorf("go %s: %w\n%s", args[0], err, out)
	}
	return out, nil
}

// seat is a place for one run of a suite: addresses of its own, so that runs do not
// meet.
type seat int32

// newSeat is a seat that no other run has.
func (s *site) newSeat() seat { return seat(s.seatsNow.Add(1)) }

// broker is the address of a broker's listener.
func (s seat) broker(id, port int) string {
	return lab.HostPort(fmt.Sprintf("127.2.%d.%d", s, id), port)
}

// rule is a dial rule of kproxy's that leads from the unresolved names of brokers with a
// port to their listeners.
func (s seat) rule(port, listener int) string {
	return fmt.Sprintf(`{match: "broker-*.vpc.invalid:%d", to: "127.2.%d.{1}:%d"}`, port, s, listener)
}

// front is the host of kproxy's listeners.
func (s seat) front() string { return fmt.Sprintf("127.1.%d.1", s) }

// unresolved is a name that brokers advertise. No resolver has it (RFC 6761).
func unresolved(id, port int) string {
	return lab.HostPort(fmt.Sprintf("broker-%d.vpc.invalid", id), port)
}

// newDir makes a directory for one run.
func (s *site) newDir(name string) (string, error) {
	return os.MkdirTemp(s.dir, name+"-")
}
